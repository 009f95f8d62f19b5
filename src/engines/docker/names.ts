import { parseImageReference, repositoryName, type ImageReference } from '../../image/reference.ts';

/** The names among `names` that have a tag, as `name:tag`; what has a digest only gets no name from a load. */
export function taggedNames(names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const reference = parseImageReference(name);
    return reference.tag === undefined ? [] : [tagged(reference, reference.tag)];
  });
}

function tagged(reference: ImageReference, tag: string): string {
  return `${repositoryName(reference)}:${tag}`;
}
