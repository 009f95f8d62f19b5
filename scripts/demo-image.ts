import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TestLayout } from '../test/helpers/images.ts';
import type { LayerEntry } from '../test/helpers/layers.ts';

export interface SampleImage {
  readonly directory: string;
  /** Digests and sizes of the compressed layers, and their sum. */
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
  readonly bytes: number;
  readonly configDigest: string;
}

/** Shares of the whole: images have one large layer at the bottom and smaller ones above. */
const LAYER_SHARES = [0.4, 0.3, 0.2, 0.1];
const LARGEST_FILE = 64e6;

/** An image of four layers from this machine's own programs and libraries, about `bytes` before compression. */
export async function makeSampleImage(directory: string, name: string, bytes: number): Promise<SampleImage> {
  const files = walk(['/usr/lib', '/usr/bin', '/usr/share', join(import.meta.dirname, '../node_modules')]);
  const layout = await TestLayout.create(directory);
  const layers = [];
  for (const share of LAYER_SHARES) layers.push({ entries: await take(files, bytes * share) });
  const image = await layout.addImage({ layers }, name);
  return {
    directory,
    layers: image.layers,
    bytes: image.layers.reduce((sum, { size }) => sum + size, 0),
    configDigest: image.config.digest,
  };
}

async function take(
  files: AsyncGenerator<LayerEntry & { bytes: number }>,
  bytes: number,
): Promise<LayerEntry[]> {
  const taken: LayerEntry[] = [];
  for (let left = bytes; left > 0;) {
    const next = await files.next();
    if (next.done === true) break;
    const { bytes: size, ...entry } = next.value;
    taken.push(entry);
    left -= size;
  }
  return taken;
}

async function* walk(folders: readonly string[]): AsyncGenerator<LayerEntry & { bytes: number }> {
  for (const folder of folders) {
    const children = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const child of children.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, child.name);
      if (child.isDirectory()) yield* walk([path]);
      if (!child.isFile()) continue;
      const { size, mode } = await stat(path);
      if (size > LARGEST_FILE) continue;
      yield { name: path.slice(1), mode: mode & 0o777, content: { file: path, bytes: size }, bytes: size };
    }
  }
}
