import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TestLayout } from '../../test/helpers/images.ts';
import type { LayerSpec } from '../../test/helpers/layers.ts';
import { pushImage } from '../../test/helpers/push.ts';

const MIB = 1024 * 1024;

/** One of the images that are pulled. */
export interface Subject {
  readonly key: string;
  readonly title: string;
  /** For HOST/REPOSITORY:1. */
  readonly repository: string;
  /** What a pull of it may take at most beside `docker pull`. */
  readonly limit: Limit;
}

/** Times as long, or so many seconds longer. */
export type Limit = { readonly ratio: number } | { readonly seconds: number };

interface Recipe {
  readonly title: string;
  readonly limit: Limit;
  readonly layers: () => LayerSpec[];
}

const RECIPES: Readonly<Record<string, Recipe>> = {
  large: { title: '200 MiB in 4', limit: { ratio: 1.02 }, layers: () => largeLayers(200) },
  flat: { title: '1 GiB in 1', limit: { ratio: 1.02 }, layers: () => [halfRandom('flat', 1024)] },
  many: {
    title: '40 of 2.5 MB',
    limit: { ratio: 1.02 },
    layers: () => Array.from({ length: 40 }, (_, at) => smallLayer(at)),
  },
  small: {
    title: '1 KB',
    limit: { seconds: 0.15 },
    layers: () => [{ entries: [{ name: 'hello', content: 'x'.repeat(1024) }] }],
  },
};

/** @throws Error for a name that no image has */
export function subjectOf(key: string): Subject {
  const recipe = RECIPES[key];
  if (recipe === undefined) throw new Error(`no image ${key}; there are ${Object.keys(RECIPES).join(', ')}`);
  const { title, limit } = recipe;
  return { key, title, repository: `bench/${key}`, limit };
}

/**
 * Builds an image and pushes it to the registry.
 * @param directory for the layout; an image that an earlier run has pushed to a registry beside it is not made again
 */
export async function pushSubject(
  { key, repository }: Subject,
  directory: string,
  registry: string,
): Promise<void> {
  const recipe = RECIPES[key];
  if (recipe === undefined) throw new Error(`no image ${key}`);
  await mkdir(directory, { recursive: true });
  const mark = join(directory, `${key}.pushed`);
  if ((await readFile(mark).catch(() => undefined)) !== undefined) return;
  const layout = await TestLayout.create(join(directory, 'layout'));
  const { manifest } = await layout.addImage({ layers: recipe.layers() });
  await pushImage(layout, manifest, { url: `http://${registry}`, repository, tag: '1' });
  await writeFile(mark, '');
}

/** Half of it compresses, as in real images. */
function halfRandom(name: string, mebibytes: number): LayerSpec {
  const entries = Array.from({ length: mebibytes }, (_, file) => ({
    name: `${name}/file${file}`,
    content: file % 2 === 0 ? { random: MIB, seed: `${name}-${file}` } : 'compressible text\n'.repeat(58_254),
  }));
  return { entries };
}

function smallLayer(at: number): LayerSpec {
  return { entries: [{ name: `many/file${at}`, content: { random: 2_500_000, seed: `many-${at}` } }] };
}

function largeLayers(mebibytes: number): LayerSpec[] {
  return [8, 4, 2, 2].map((share, layer) => halfRandom(`layer${layer}`, Math.ceil((mebibytes * share) / 16)));
}
