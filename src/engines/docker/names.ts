import type { Digest } from '../../image/digest.ts';
import { parseImageReference, repositoryName, type ImageReference } from '../../image/reference.ts';

/** The names among `names` that have a tag, as `name:tag`; what has a digest only gets no name from a load. */
export function taggedNames(names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const reference = parseImageReference(name);
    return reference.tag === undefined ? [] : [`${repositoryName(reference)}:${reference.tag}`];
  });
}

/** `name:tag` as the two parameters of a tagging. */
export function splitTag(name: string): { readonly repo: string; readonly tag: string } {
  const at = name.lastIndexOf(':');
  return { repo: name.slice(0, at), tag: name.slice(at + 1) };
}

/** As engines list it: `quay.io/ns/app@sha256:...`. */
export function repositoryDigest(reference: ImageReference, digest: Digest): string {
  return `${repositoryName(reference)}@${digest}`;
}
