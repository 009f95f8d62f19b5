import assert from 'node:assert/strict';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { test, type TestContext } from 'node:test';
import { fileEntry } from '../../src/tar/entry.ts';
import { mergeLayers } from '../../src/layers/merge.ts';
import { readTar } from '../../src/tar/reader.ts';
import { formatEntry, tarBytes } from '../../src/tar/writer.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { dumpTree, unpack } from './overlay-check.ts';
import { diffIdOf } from './trees.ts';

/** Names as bytes; before 1970, after 2038, and to the nanosecond where a format can say it. */
async function oddTree(t: TestContext): Promise<string> {
  const root = await tempDirectory(t, 'tree');
  const at = (...names: readonly string[]): Buffer =>
    Buffer.concat(names.flatMap((name, index) => [Buffer.from(index === 0 ? name : `/${name}`, 'latin1')]));
  await mkdir(at(root, 'deep', ...Array.from({ length: 4 }, () => 'd'.repeat(50))), { recursive: true });
  const old = at(root, '\xff\xfe not UTF-8');
  await writeFile(old, 'old');
  await utimes(old, -86_400 * 3650, -86_400 * 3650);
  const future = at(root, 'deep', 'd'.repeat(50), 'd'.repeat(50), 'd'.repeat(50), 'd'.repeat(50), 'future');
  await writeFile(future, 'future');
  await utimes(future, 4_102_444_800, 4_102_444_800);
  await writeFile(at(root, 'exact'), 'x'.repeat(1024));
  await link(future, at(root, 'linked'));
  await symlink('t'.repeat(150), at(root, 'long link'));
  return root;
}

for (const format of ['gnu', 'oldgnu', 'pax', 'posix', 'ustar', 'v7']) {
  test(
    `what GNU tar writes as ${format} comes through a merge as it is`,
    { skip: skipWithout('root') },
    async (t) => {
      const tree = await oddTree(t);
      const directory = await tempDirectory(t, 'tar');
      const given = join(directory, 'given.tar');
      // Where a format has no room for it, GNU tar says so and leaves it out: what it wrote is what counts.
      const owner = format === 'ustar' || format === 'v7' ? '2000000' : '4000000000';
      const flags = [
        `--format=${format}`,
        '--numeric-owner',
        `--owner=:${owner}`,
        '--group=:12',
        '--sort=name',
      ];
      await mustRun('sh', [
        '-c',
        'tar "$@" || test $? -le 2',
        'tar',
        ...flags,
        '-C',
        tree,
        '-cf',
        given,
        '.',
      ]);

      const open = (): Promise<Readable> => Promise.resolve(createReadStream(given));
      const layers = [{ name: 'given', diffId: await diffIdOf(await open()), open }];
      const merged = await mergeLayers(layers, t.signal);
      const ours = join(directory, 'ours.tar');
      await pipeline(
        Readable.from(tarBytes(merged.entries()), { objectMode: false }),
        createWriteStream(ours),
      );
      const wanted = await dumpTree(await unpack(given, join(directory, 'wanted')));
      assert.deepEqual(await dumpTree(await unpack(ours, join(directory, 'got'))), wanted);
      assert.ok(wanted.length > 4, 'there was something to compare');
    },
  );
}

test('a file of more than 8 GiB has a header of one block, which GNU tar reads', async (t) => {
  const size = 10 * 1024 ** 3 + 1;
  const header = formatEntry({ ...fileEntry('large', new Uint8Array()).header, size });
  assert.equal(header.length, 512);
  const path = join(await tempDirectory(t, 'tar'), 'large.tar');
  await pipeline(Readable.from([header]), createWriteStream(path));
  const listed = await mustRun('sh', ['-c', 'tar -tvf "$0" 2>/dev/null; true', path]);
  assert.match(listed, new RegExp(` ${size} .* large\n`));
  for await (const entry of readTar(createReadStream(path))) {
    assert.equal(entry.header.size, size);
    break;
  }
});

test('what is written is read back, every field of it', async () => {
  const header = {
    ...fileEntry('\xff'.repeat(120), new Uint8Array()).header,
    mode: 0o6751,
    uid: 4_000_000_000,
    gid: 2_097_152,
    mtime: -1_500_000_001n,
    size: 3,
    xattrs: new Map([['user.\xe9', new Uint8Array([0, 10, 61, 255])]]),
  };
  const entries = async function* () {
    yield { header, content: Readable.from([Buffer.from('abc')]) as AsyncIterable<Uint8Array> };
  };
  for await (const read of readTar(tarBytes(entries()))) {
    assert.deepEqual(
      { ...read.header, xattrs: [...read.header.xattrs] },
      { ...header, xattrs: [...header.xattrs] },
    );
    assert.equal((await buffer(read.content)).toString(), 'abc');
  }
});
