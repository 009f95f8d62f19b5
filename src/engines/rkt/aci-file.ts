import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AciImage } from '../../image/aci.ts';
import type { FileFeed } from '../engine.ts';

/**
 * Gives the blobs, for a while, the names that `rkt fetch` wants: absolute, `.aci` at the end, `.aci.asc` beside it.
 * They are links: nothing is copied.
 * @param work is told the argument for rkt, which reads it as a URL
 */
export async function withAciFile<Result>(
  { aci, signature }: AciImage,
  feed: Pick<FileFeed, 'file'>,
  work: (argument: string) => Promise<Result>,
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-rkt-'));
  try {
    const path = join(directory, 'image.aci');
    await symlink(feed.file(aci.digest), path);
    if (signature !== undefined) await symlink(feed.file(signature.digest), `${path}.asc`);
    return await work(asUrlPath(path));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** rkt decodes `%41` and stumbles over `#` and `?`; all else may stand in a path as it is. */
function asUrlPath(path: string): string {
  return path.replaceAll(/[%#?]/g, (character) => encodeURIComponent(character));
}
