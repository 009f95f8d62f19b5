import assert from 'node:assert/strict';
import { copyFile, mkdir, open, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { checksum } from '../../src/tar/header.ts';
import { startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { compareLayers, mergedOf } from './overlay-check.ts';
import { tarOf, type Brief } from './trees.ts';

const skip = skipWithout('root', 'dockerd', 'docker');
const ends: (() => void | Promise<void>)[] = [];
let dockerd: TestDockerd;

before(async () => {
  if (skip === false) dockerd = await startDockerd({ after: (end) => void ends.push(end) });
});
after(async () => {
  for (const end of ends.toReversed()) await end();
});

const dir = (path: string): Brief => ({ path, type: 'directory' });
const link = (path: string, linkPath: string): Brief => ({ path, type: 'hardlink', linkPath });
const symlink = (path: string, linkPath: string): Brief => ({ path, type: 'symlink', linkPath, mode: 0o777 });
const file = (path: string, text = path): Brief => ({ path, text });
const USR_LIB = [dir('usr'), dir('usr/lib'), file('usr/lib/a')];

/** A tar whose first header has other bytes at some places. */
async function altered(fields: Readonly<Record<number, string>>, entry: Brief = file('f')): Promise<Buffer> {
  const tar = await tarOf([entry, file('other')]);
  for (const [at, text] of Object.entries(fields)) tar.write(text, Number(at), 'latin1');
  tar.write(`${checksum(tar.subarray(0, 512), 0).toString(8).padStart(6, '0')}\0 `, 148);
  return tar;
}

const NAME = { 0: 'd/e/../../f2'.padEnd(20, '\0') };

/** What builders write that no extractor of textbooks would take, one image each. */
const SAME: readonly { what: string; layers: () => Promise<readonly Buffer[]> }[] = [
  {
    what: 'an absolute hard link (kaniko)',
    layers: async () => [
      await tarOf([dir('usr'), file('usr/perlbug'), link('usr/perlthanks', '/usr/perlbug')]),
    ],
  },
  {
    what: 'hard links whose target climbs above the root',
    layers: async () => [await tarOf([file('f'), link('g', '../../f'), link('h', '/../f')])],
  },
  {
    what: 'a hard link with slashes and dots in its target',
    layers: async () => [await tarOf([dir('d'), file('d/f'), link('g', './/d/./../d//f')])],
  },
  {
    what: 'entries below a symbolic link of their layer (merged /usr)',
    layers: async () => [
      await tarOf([...USR_LIB, symlink('lib', 'usr/lib'), file('lib/b'), dir('lib/c'), file('lib/c/d')]),
    ],
  },
  {
    what: 'entries below an absolute symbolic link, and below one that climbs above the root',
    layers: async () => [
      await tarOf([
        ...USR_LIB,
        symlink('l', '/usr/lib'),
        file('l/b'),
        dir('x'),
        symlink('x/m', '../../../usr/lib'),
        file('x/m/c'),
      ]),
    ],
  },
  {
    what: 'entries below a chain of symbolic links',
    layers: async () => [
      await tarOf([
        ...USR_LIB,
        symlink('l1', 'l2'),
        symlink('l2', './/usr/../l3'),
        symlink('l3', 'usr//lib/'),
        file('l1/b'),
      ]),
    ],
  },
  {
    what: 'hard links through a symbolic link, on either side',
    layers: async () => [
      await tarOf([...USR_LIB, symlink('lib', 'usr/lib'), link('b', 'lib/a'), link('lib/c', 'usr/lib/a')]),
    ],
  },
  {
    what: 'a hard link to a symbolic link',
    layers: async () => [await tarOf([...USR_LIB, symlink('l', 'usr/lib/a'), link('m', 'l')])],
  },
  {
    what: 'a symbolic link below, and a directory of that name above',
    layers: async () => [
      await tarOf([...USR_LIB, symlink('lib', 'usr/lib')]),
      await tarOf([dir('lib'), file('lib/b')]),
    ],
  },
  {
    what: 'a whiteout below a symbolic link of its layer',
    layers: async () => [
      await tarOf([...USR_LIB, file('usr/lib/b')]),
      await tarOf([dir('usr'), dir('usr/lib'), symlink('lib', 'usr/lib'), file('lib/.wh.a', '')]),
    ],
  },
  {
    what: 'an opaque mark below a symbolic link of its layer',
    layers: async () => [
      await tarOf([...USR_LIB, file('usr/lib/b')]),
      await tarOf([
        dir('usr'),
        dir('usr/lib'),
        symlink('lib', 'usr/lib'),
        file('lib/.wh..wh..opq', ''),
        file('lib/c'),
      ]),
    ],
  },
  {
    what: 'a path that climbs and stays inside',
    layers: async () => [await altered(NAME, file('f'.repeat(30)))],
  },
  {
    what: 'a path that climbs above the root',
    layers: async () => [await altered({ 0: '../../up'.padEnd(20, '\0') }, file('f'.repeat(30)))],
  },
  {
    what: 'an absolute path that climbs above the root',
    layers: async () => [await altered({ 0: '/../up'.padEnd(20, '\0') }, file('f'.repeat(30)))],
  },
  { what: 'an owner of -1', layers: async () => [await altered({ 108: '\xff'.repeat(16) })] },
  {
    what: 'owners of 2^32-1 and more',
    layers: async () => [await tarOf([{ ...file('f'), uid: 2 ** 32 - 1, gid: 2 ** 32 + 7 }])],
  },
  {
    what: 'a device with more digits than a device has',
    layers: async () => [
      await altered(
        { 329: '0020001\0', 337: '7777777\0' },
        { path: 'd', type: 'char-device', device: { major: 1, minor: 3 } },
      ),
    ],
  },
  {
    what: 'numbers with junk behind their NUL',
    layers: async () => [await altered({ 100: '644\0xyz ', 108: '  17\0ab\0' })],
  },
  {
    what: 'a last file that is not padded',
    layers: async () => [(await tarOf([file('g'), file('f', 'text')])).subarray(0, 1540)],
  },
  {
    what: 'an end mark of one block',
    layers: async () => [(await tarOf([file('f', 'text')])).subarray(0, 1536)],
  },
  {
    what: 'bytes behind the end mark',
    layers: async () => [Buffer.concat([await tarOf([file('f')]), Buffer.alloc(700, 'x')])],
  },
  ...['0.0', '0.1', '1.0'].map((version) => ({
    what: `sparse files in pax ${version}`,
    layers: async () => [await sparse(version)],
  })),
];

/** Written by GNU tar: with data in the middle, without any, with holes at both ends, with many pieces. */
async function sparse(version: string): Promise<Buffer> {
  const folder = await tempDirectory({ after: (end) => void ends.push(end) }, 'sparse');
  const tree = join(folder, 'tree');
  await mkdir(tree);
  for (const [name, pieces] of Object.entries({
    middle: [1],
    none: [],
    many: Array.from({ length: 90 }, (_, at) => 2 * at),
  })) {
    const path = join(tree, `${name}-${'n'.repeat(120)}`);
    await writeFile(path, '');
    await truncate(path, 3 * 1024 * 1024 + 5);
    const handle = await open(path, 'r+');
    for (const at of pieces) await handle.write(Buffer.alloc(8000, `piece ${at} `), 0, 8000, at * 16_384);
    await handle.close();
  }
  const out = join(folder, 'sparse.tar');
  const flags = [
    '--sparse',
    `--sparse-version=${version}`,
    '--format=pax',
    '--numeric-owner',
    '--owner=:7',
    '--group=:8',
  ];
  await mustRun('tar', [
    ...flags,
    '--mtime=@1000',
    '--sort=name',
    '-C',
    tree,
    '-cf',
    out,
    ...(await readdir(tree)),
  ]);
  return readFile(out);
}

for (const { what, layers } of SAME) {
  test(`merged as Docker unpacks it: ${what}`, { skip }, async (t) => {
    const directory = await tempDirectory(t, 'odd');
    const files = [];
    for (const [at, tar] of (await layers()).entries()) {
      const path = join(directory, `layer-${at}.tar`);
      await writeFile(path, tar);
      await copyFile(path, `${path}.packed`);
      files.push(path);
    }
    assert.ok((await compareLayers(dockerd, files, directory)) > 0);
  });
}

/** What Docker refuses, too: `docker load` fails. */
const REFUSED: readonly { what: string; tar: () => Promise<Buffer>; message: RegExp }[] = [
  {
    what: 'symbolic links that lead in a circle',
    tar: () => tarOf([symlink('a', 'b'), symlink('b', 'a'), file('a/x')]),
    message: /too many symbolic links/,
  },
  { what: 'an entry below a file', tar: () => tarOf([file('a'), file('a/x')]), message: /"a" is none/ },
  {
    what: 'an entry below a symbolic link to a file',
    tar: () => tarOf([file('a'), symlink('l', 'a'), file('l/x')]),
    message: /"a" is none/,
  },
  {
    what: 'entries behind one block of zeros',
    tar: async () => Buffer.concat([(await tarOf([file('f')])).subarray(0, 1536), await tarOf([file('g')])]),
    message: /follow after a block of zeros/,
  },
  { what: "a sparse file of GNU tar's own format", tar: () => altered({ 156: 'S' }), message: /sparse/ },
];

for (const { what, tar, message } of REFUSED) {
  test(`refused, as Docker refuses it: ${what}`, { skip }, async (t) => {
    const directory = await tempDirectory(t, 'odd');
    const path = join(directory, 'layer-0.tar');
    await writeFile(path, await tar());
    await copyFile(path, `${path}.packed`);
    await assert.rejects(
      () => compareLayers(dockerd, [path], directory),
      /Error processing tar file|invalid tar/,
    );
    await assert.rejects(
      () => mergedOf(path),
      (error) => isQuayctlError(error, 'protocol', 'unsupported') && message.test(error.message),
    );
  });
}
