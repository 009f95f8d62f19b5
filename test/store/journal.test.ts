import assert from 'node:assert/strict';
import { appendFile, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseJournal } from '../../src/store/journal.ts';
import { patience, randomBlob, type TestBlob } from './blobs.ts';
import { failsWith } from './blob-store.suite.ts';
import { newStore, type TestStore } from './open.ts';

const HOSTILE: readonly [what: string, journal: string, spans: readonly [number, number][]][] = [
  ['an empty file', '', []],
  ['a heading alone', 'spans of 100\n', []],
  ['a torn heading', 'spans of 1', []],
  ['another size', 'spans of 99\n+0 50\n', []],
  ['a torn last line', 'spans of 100\n+0 10\n+20 30', [[0, 10]]],
  ['a torn last line that would parse', 'spans of 100\n+0 10\n+20 3', [[0, 10]]],
  ['a claim beyond the blob', 'spans of 100\n+90 200\n', []],
  ['a claim beyond the file', 'spans of 100\n+10 100\n', [[10, 80]]],
  ['lines that make no sense', 'spans of 100\n+x y\n\0\0\0\n+0 10\n+ 5\n+-5 7\n+30 20\n', [[0, 10]]],
  ['numbers too large', 'spans of 100\n+0 99999999999999999999\n+5 6\n', [[5, 6]]],
  [
    'what was discarded',
    'spans of 100\n+0 50\n-10 20\n+12 15\n',
    [
      [0, 10],
      [12, 15],
      [20, 50],
    ],
  ],
];

for (const [what, journal, spans] of HOSTILE) {
  test(`of a journal with ${what}, only what can be true is believed`, () => {
    const read = parseJournal(Buffer.from(journal, 'latin1'), 100, 80).spans;
    assert.deepEqual(
      read,
      spans.map(([start, end]) => ({ start, end })),
    );
  });
}

test('a journal of random bytes is no error', () => {
  for (let round = 0; round < 100; round++) {
    const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(500)));
    const journal = Buffer.concat([Buffer.from('spans of 100\n'), bytes]);
    for (const { start, end } of parseJournal(journal, 100, 100).spans)
      assert.ok(0 <= start && start < end && end <= 100);
  }
});

interface OnDisk extends TestStore {
  readonly blob: TestBlob;
  readonly data: string;
  readonly journal: string;
}

async function halfWritten(t: Parameters<typeof newStore>[0]): Promise<OnDisk> {
  const opened = await newStore(t);
  const blob = randomBlob(200_000);
  const partial = await opened.store.begin(blob.descriptor, patience());
  assert.ok(partial !== 'present');
  await partial.write(0, blob.bytes.subarray(0, 50_000));
  await partial.write(100_000, blob.bytes.subarray(100_000, 150_000));
  await partial.close();
  const data = join(opened.directory, 'quayctl/partial', blob.descriptor.digest.slice(7));
  return { ...opened, blob, data, journal: `${data}.spans` };
}

const DAMAGE: readonly [what: string, damage: (files: OnDisk) => Promise<unknown>, written: number][] = [
  ['untouched', async () => {}, 100_000],
  ['a torn journal', async ({ journal }) => appendFile(journal, '+150000 2000'), 100_000],
  [
    'a journal cut in its last line',
    async ({ journal }) => truncate(journal, (await stat(journal)).size - 1),
    50_000,
  ],
  ['a journal of garbage', ({ journal }) => writeFile(journal, Buffer.alloc(1000, 0xff)), 0],
  ['a journal that claims everything', ({ journal }) => appendFile(journal, '+0 200000\n'), 150_000],
  ['a data file that was cut', ({ data }) => truncate(data, 120_000), 70_000],
  ['an empty data file', ({ data }) => truncate(data, 0), 0],
  ['a data file that is too long', ({ data }) => appendFile(data, Buffer.alloc(500_000)), 100_000],
  ['wrong data', async ({ data }) => writeFile(data, (await readFile(data)).fill(9)), 100_000],
];

for (const [what, damage, written] of DAMAGE) {
  test(`a partial blob with ${what} is continued, and only right bytes are committed`, async (t) => {
    const files = await halfWritten(t);
    await damage(files);
    const { store, blob } = files;
    const partial = await store.begin(blob.descriptor, patience());
    assert.ok(partial !== 'present');
    assert.equal(partial.written, written);
    let at = 0;
    for (const { start, end } of [...partial.spans, { start: 200_000, end: 200_000 }]) {
      await partial.write(at, blob.bytes.subarray(at, start));
      at = end;
    }
    const damaged = what === 'wrong data' || what === 'a journal that claims everything';
    if (damaged) {
      await failsWith('verification', partial.commit());
      await partial.discard();
      await partial.write(0, blob.bytes);
    }
    await partial.commit();
    await partial.close();
    assert.equal(await store.verify(blob.descriptor.digest), true);
  });
}

test('the record of many small writes stays small', async (t) => {
  const { store, journal, blob } = await halfWritten(t);
  const partial = await store.begin(blob.descriptor, patience());
  assert.ok(partial !== 'present');
  for (let round = 0; round < 200; round++) {
    const writes = Array.from({ length: 100 }, (_, at) =>
      partial.write(at * 2, blob.bytes.subarray(at * 2, at * 2 + 1)),
    );
    await Promise.all(writes);
    await partial.discard({ start: 0, end: 200 });
  }
  assert.ok((await stat(journal)).size < 1024 * 1024);
  await partial.close();
});
