import { squashedTag } from '../../image/squashed.ts';
import type { Digest } from '../../image/digest.ts';
import type { Recipe } from '../derived/recipe.ts';
import { writeDockerArchive } from './docker-archive.ts';

/** Goes up with every change of the bytes, so that what an earlier build made is not mistaken for this one's. */
const VERSION = '2';

/**
 * A squashed image: one layer in an archive that `docker load` takes, named `NAME:TAG.squash`.
 * @param registry the upstream's own name; undefined for a layout, which has none
 * @param selector the tag or digest that was asked for
 */
export function squashRecipe(
  registry: string | undefined,
  repository: string,
  { tag, digest }: { readonly tag: string | undefined; readonly digest: Digest },
): Recipe {
  const name = `${registry === undefined ? '' : `${registry}/`}${repository}:${squashedTag(tag, digest)}`;
  return {
    kind: 'squashed image',
    inputs: [VERSION, name],
    write: async (source, path, signal) => {
      await writeDockerArchive(source, name, path, signal);
      return {};
    },
  };
}
