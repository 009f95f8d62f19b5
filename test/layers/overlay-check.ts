import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createWriteStream } from 'node:fs';
import { createGzip, createZstdCompress } from 'node:zlib';
import { createHash } from 'node:crypto';
import type { TarEntry } from '../../src/tar/entry.ts';
import { digestFromHex, type Digest } from '../../src/image/digest.ts';
import { mergeLayers } from '../../src/layers/merge.ts';
import type { MergedTree } from '../../src/layers/merged-tree.ts';
import { tarBytes } from '../../src/tar/writer.ts';
import type { TestDockerd } from '../helpers/dockerd.ts';
import { mustRun } from '../helpers/processes.ts';
import { randomStack } from './random-stack.ts';

/**
 * Many random stacks as one image, each in a directory of its own: loaded into a real Docker Engine, whose layers are
 * mounted by overlayfs, and merged by us and unpacked by GNU tar. Every path, mode, owner, time, link, attribute and
 * content must be the same.
 */
export async function compareWithOverlay(
  dockerd: TestDockerd,
  seeds: readonly number[],
  directory: string,
): Promise<{ readonly paths: number }> {
  const files = await writeLayers(stackUp(seeds), directory);
  return { paths: await compareLayers(dockerd, files, directory) };
}

/**
 * The same for the layers of one image.
 * @param files plain tars, base first, as `layer-N.tar` in the directory; with `.packed` behind it what we read
 * @returns how many paths there are
 */
export async function compareLayers(
  dockerd: TestDockerd,
  files: readonly string[],
  directory: string,
): Promise<number> {
  const mount = await overlayMount(dockerd, files, directory);
  try {
    const merged = await unpackMerged(files, directory);
    const [theirs, ours] = [await dumpTree(mount), await dumpTree(merged)];
    assert.deepEqual(
      ours.map(({ path }) => path),
      theirs.map(({ path }) => path),
    );
    ours.forEach((entry, at) => assert.deepEqual(entry, theirs[at]));
    return ours.length;
  } finally {
    await unmount(mount);
  }
}

/** Layer n of the image: layer n of every stack that has one. */
export function stackUp(seeds: readonly number[]): TarEntry[][] {
  const stacks = seeds.map((seed, at) => randomStack(seed, `stack-${at}`));
  const height = Math.max(...stacks.map(({ length }) => length));
  return Array.from({ length: height }, (_, layer) => stacks.flatMap((stack) => stack[layer] ?? []));
}

/** Plain, for Docker before 23 takes no zstd; ours are read in all three forms. */
async function writeLayers(layers: readonly TarEntry[][], directory: string): Promise<string[]> {
  return Promise.all(
    layers.map(async (entries, at) => {
      const file = join(directory, `layer-${at}.tar`);
      const tar = (): Readable => Readable.from(tarBytes(each(entries)), { objectMode: false });
      await pipeline(tar(), createWriteStream(file));
      if (at % 3 === 1) await pipeline(tar(), createGzip(), createWriteStream(`${file}.packed`));
      else if (at % 3 === 2) await pipeline(tar(), createZstdCompress(), createWriteStream(`${file}.packed`));
      else await pipeline(tar(), createWriteStream(`${file}.packed`));
      return file;
    }),
  );
}

async function* each(entries: readonly TarEntry[]): AsyncGenerator<TarEntry> {
  yield* entries;
}

async function overlayMount(
  dockerd: TestDockerd,
  files: readonly string[],
  directory: string,
): Promise<string> {
  const diffIds = await Promise.all(files.map(digestOfFile));
  const config = {
    os: 'linux',
    architecture: 'amd64',
    config: {},
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
  const layers = files.map((_, at) => `layer-${at}.tar`);
  await writeFile(
    join(directory, 'manifest.json'),
    JSON.stringify([{ Config: 'config.json', RepoTags: ['stacks:1'], Layers: layers }]),
  );
  const archive = join(directory, 'image.tar');
  await mustRun('tar', ['-C', directory, '-cf', archive, 'manifest.json', 'config.json', ...layers]);
  const loaded = await dockerd.docker('load', '--input', archive);
  assert.equal(loaded.code, 0, loaded.stderr);
  return mountImage(dockerd, 'stacks:1', join(directory, 'mount'));
}

/** The layers of an image as overlayfs shows them, read-only: what Docker itself mounts for a container. */
export async function mountImage(dockerd: TestDockerd, image: string, mount: string): Promise<string> {
  const format = '{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}';
  const { stdout } = await dockerd.docker('image', 'inspect', '--format', format, image);
  const lower = stdout.trim().replace(/:<no value>$/, '');
  // One directory alone is no overlay: an empty one below changes nothing.
  const empty = `${mount}.empty`;
  await Promise.all([mkdir(mount), mkdir(empty)]);
  await mustRun('mount', ['-t', 'overlay', 'overlay', '-o', `ro,lowerdir=${lower}:${empty}`, mount]);
  return mount;
}

export async function unmount(mount: string): Promise<void> {
  await mustRun('umount', [mount]);
}

async function unpackMerged(files: readonly string[], directory: string): Promise<string> {
  const tree = await mergedOf(...files);
  const tar = join(directory, 'merged.tar');
  await pipeline(Readable.from(tarBytes(tree.entries()), { objectMode: false }), createWriteStream(tar));
  return unpack(tar, join(directory, 'merged'));
}

/** Of `FILE.packed`, with the diff ID of FILE. */
export async function mergedOf(...files: readonly string[]): Promise<MergedTree> {
  const layers = await Promise.all(
    files.map(async (file) => ({
      name: file,
      diffId: await digestOfFile(file),
      open: async () => createReadStream(`${file}.packed`),
    })),
  );
  return mergeLayers(layers, new AbortController().signal);
}

/** By GNU tar, with all that it can set. */
export async function unpack(tar: string, target: string): Promise<string> {
  await mkdir(target);
  const all = [
    '--same-owner',
    '--numeric-owner',
    '--same-permissions',
    '--delay-directory-restore',
    '--xattrs',
    '--xattrs-include=*',
  ];
  await mustRun('tar', [...all, '-C', target, '-xf', tar]);
  return target;
}

export interface DumpedPath {
  readonly path: string;
  readonly [field: string]: unknown;
}

/** Every path below a directory, with all that extracting sets. */
export async function dumpTree(directory: string): Promise<DumpedPath[]> {
  const script = join(import.meta.dirname, '../fixtures/tree/dump.py');
  const lines = await mustRun('/usr/bin/python3', [script, directory]);
  return lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as DumpedPath);
}

async function digestOfFile(file: string): Promise<Digest> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return digestFromHex(hash.digest('hex'));
}
