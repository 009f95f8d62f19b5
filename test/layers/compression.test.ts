import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { isQuayctlError } from '../../src/base/errors.ts';
import { digestOf } from '../../src/image/digest.ts';
import { plainBytes } from '../../src/layers/decompress.ts';
import { mergeLayers } from '../../src/layers/merge.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tarOf } from './trees.ts';

const NEVER = new AbortController().signal;
/** Half of it compresses. */
const PLAIN = Buffer.concat([randomBytes(300_000), Buffer.alloc(300_000, 'text '), randomBytes(7)]);
const HALVES = [PLAIN.subarray(0, 250_001), PLAIN.subarray(250_001)] as const;
const SKIPPED = Buffer.concat([Buffer.from('5f2a4d1808000000', 'hex'), Buffer.from('skip me!')]);
const JUNK = Buffer.from('junk behind the end');

const by =
  (program: string, ...args: string[]) =>
  (bytes: Uint8Array): Buffer =>
    execFileSync(program, args, { input: bytes, maxBuffer: 64 * 1024 * 1024 });
const xz = by('xz', '-c');
const bzip2 = by('bzip2', '-c');
const pieces = (bytes: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  );

/** @param size of the chunks in which the blob is read */
function plainOf(blob: Buffer, size = 64 * 1024): Promise<Buffer> {
  return buffer(plainBytes(Readable.from(pieces(blob, size))));
}

const WHOLE: readonly { what: string; make: () => Buffer; needs?: string }[] = [
  { what: 'a plain blob', make: () => PLAIN },
  { what: 'gzip', make: () => gzipSync(PLAIN) },
  { what: 'gzip of two members', make: () => Buffer.concat(HALVES.map((half) => gzipSync(half))) },
  {
    what: 'gzip of many members, some of them empty',
    make: () =>
      Buffer.concat(pieces(PLAIN, 3000).flatMap((part) => [gzipSync(part), gzipSync(Buffer.alloc(0))])),
  },
  { what: 'gzip with zeros behind it', make: () => Buffer.concat([gzipSync(PLAIN), Buffer.alloc(1000)]) },
  { what: 'zstd', make: () => zstdCompressSync(PLAIN) },
  { what: 'zstd of two frames', make: () => Buffer.concat(HALVES.map((half) => zstdCompressSync(half))) },
  {
    what: 'zstd of many frames, some of them empty',
    make: () =>
      Buffer.concat(
        pieces(PLAIN, 3000).flatMap((part) => [zstdCompressSync(part), zstdCompressSync(Buffer.alloc(0))]),
      ),
  },
  {
    what: 'zstd with frames to be skipped in front, between and behind',
    make: () => Buffer.concat([SKIPPED, ...HALVES.flatMap((half) => [zstdCompressSync(half), SKIPPED])]),
  },
  {
    what: 'zstd of another tool, with checksum',
    make: () => Buffer.concat(HALVES.map(by('zstd', '-qc', '--check'))),
    needs: 'zstd',
  },
  {
    what: 'zstd of another tool, without checksum, over a stream of unknown length',
    make: () => Buffer.concat(HALVES.map(by('zstd', '-qc', '--no-check', '--long=27', '-19'))),
    needs: 'zstd',
  },
  { what: 'xz', make: () => xz(PLAIN), needs: 'xz' },
  { what: 'xz of two streams', make: () => Buffer.concat(HALVES.map(xz)), needs: 'xz' },
  { what: 'bzip2', make: () => bzip2(PLAIN), needs: 'bzip2' },
  { what: 'bzip2 of two streams', make: () => Buffer.concat(HALVES.map(bzip2)), needs: 'bzip2' },
];

for (const { what, make, needs } of WHOLE) {
  test(
    `${what} is unpacked to its very end`,
    { skip: needs !== undefined && skipWithout(needs) },
    async () => {
      const blob = make();
      for (const size of [101, 64 * 1024, blob.length]) {
        assert.ok((await plainOf(blob, size)).equals(PLAIN), `in chunks of ${size}`);
      }
    },
  );
}

const BROKEN: readonly { what: string; make: () => Buffer; message: RegExp; needs?: string }[] = [
  { what: 'gzip without its trailer', make: () => gzipSync(PLAIN).subarray(0, -8), message: /cut short/ },
  { what: 'gzip cut in the middle', make: () => gzipSync(PLAIN).subarray(0, 100_000), message: /cut short/ },
  {
    what: 'gzip whose second member is cut',
    make: () => Buffer.concat(HALVES.map((half) => gzipSync(half))).subarray(0, -4),
    message: /cut short/,
  },
  { what: 'gzip with a changed byte', make: () => changed(gzipSync(PLAIN), 400), message: /damaged/ },
  {
    what: 'gzip with junk behind it',
    make: () => Buffer.concat([gzipSync(PLAIN), JUNK]),
    message: /something else follows/,
  },
  {
    what: 'zstd cut in a block',
    make: () => zstdCompressSync(PLAIN).subarray(0, 100_000),
    message: /cut short/,
  },
  {
    what: 'zstd whose second frame is cut in its header',
    make: () => Buffer.concat([zstdCompressSync(HALVES[0]), zstdCompressSync(HALVES[1]).subarray(0, 5)]),
    message: /cut short/,
  },
  {
    what: 'zstd cut in a frame to be skipped',
    make: () => Buffer.concat([zstdCompressSync(PLAIN), SKIPPED.subarray(0, 10)]),
    message: /cut short/,
  },
  {
    what: 'zstd with junk behind it',
    make: () => Buffer.concat([zstdCompressSync(PLAIN), JUNK]),
    message: /something else follows/,
  },
  {
    what: 'zstd with a changed byte',
    make: () => changed(zstdCompressSync(PLAIN, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }), 1000),
    message: /damaged/,
  },
  { what: 'xz cut short', make: () => xz(PLAIN).subarray(0, -20), message: /damaged, says xz/, needs: 'xz' },
  {
    what: 'bzip2 cut short',
    make: () => bzip2(PLAIN).subarray(0, -20),
    message: /damaged, says bzip2/,
    needs: 'bzip2',
  },
];

for (const { what, make, message, needs } of BROKEN) {
  test(
    `${what} is refused with the reason`,
    { skip: needs !== undefined && skipWithout(needs) },
    async () => {
      await assert.rejects(
        () => plainOf(make()),
        (error) => isQuayctlError(error, 'verification') && message.test(error.message),
      );
    },
  );
}

test(
  'whoever stops reading in the middle leaves no program running',
  { skip: skipWithout('xz') },
  async () => {
    const plain = plainBytes(Readable.from(pieces(xz(PLAIN), 1000)));
    for await (const chunk of plain) {
      assert.ok(chunk.length > 0);
      assert.deepEqual(await childPrograms(), ['xz']);
      break;
    }
    while ((await childPrograms()).length > 0) await setTimeout(5);
  },
);

test('a layer whose content is not that of its diff ID is refused, whatever comes behind its last entry', async () => {
  const tar = await tarOf([{ path: 'bin/x', text: 'x' }]);
  const behind = Buffer.concat([tar, Buffer.alloc(10_240), JUNK]);
  const merged = async (blob: Uint8Array, content: Uint8Array): Promise<number> => {
    const open = (): Promise<Readable> => Promise.resolve(Readable.from([blob]));
    return (await mergeLayers([{ name: 'layer 1', diffId: digestOf(content), open }], NEVER)).entryCount;
  };
  assert.equal(await merged(gzipSync(tar), tar), 3);
  assert.equal(await merged(gzipSync(behind), behind), 3);
  for (const [blob, content] of [
    [gzipSync(tar), behind],
    [gzipSync(behind), tar],
    [tar, gzipSync(tar)],
  ] as const) {
    await assert.rejects(
      () => merged(blob, content),
      (error) =>
        isQuayctlError(error, 'verification') && error.message.startsWith('layer 1: its content is not that'),
    );
  }
});

async function childPrograms(): Promise<string[]> {
  const children = await readFile(`/proc/self/task/${process.pid}/children`, 'utf8');
  const names = children
    .split(' ')
    .filter((pid) => pid !== '')
    .map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => ''));
  return (await Promise.all(names)).map((name) => name.trim()).filter((name) => name !== '');
}

function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  return copy;
}
