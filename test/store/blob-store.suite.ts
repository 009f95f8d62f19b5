import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { buffer } from 'node:stream/consumers';
import { QuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import { digestFromHex } from '../../src/image/digest.ts';
import type { BlobStore, PartialBlob } from '../../src/store/blob-store.ts';
import { blobOf, patience, randomBlob, type TestBlob } from './blobs.ts';

const PIECE = 64 * 1024;

/** What every BlobStore must do. @param open an empty store, closed with the test */
export function blobStoreSuite(name: string, open: (t: TestContext) => Promise<BlobStore>): void {
  const check = (what: string, body: (store: BlobStore, t: TestContext) => Promise<void>): void => {
    test(`${name}: ${what}`, async (t) => body(await open(t), t));
  };

  check('a blob written in order is committed and read back', async (store) => {
    const blob = randomBlob(5 * PIECE + 17);
    const partial = await begin(store, blob);
    for (let at = 0; at < blob.bytes.length; at += PIECE) {
      await partial.write(at, blob.bytes.subarray(at, at + PIECE));
    }
    assert.equal(await store.stat(blob.descriptor.digest), undefined);
    await partial.commit();
    assert.equal(await store.stat(blob.descriptor.digest), blob.bytes.length);
    assert.deepEqual(
      Buffer.from(await partial.read(PIECE - 3, 10)),
      blob.bytes.subarray(PIECE - 3, PIECE + 7),
    );
    await partial.close();
    assert.deepEqual(await buffer(await store.stream(blob.descriptor.digest)), blob.bytes);
    const reader = await store.open(blob.descriptor.digest);
    assert.equal(reader.size, blob.bytes.length);
    assert.deepEqual(Buffer.from(await reader.read(7, 100)), blob.bytes.subarray(7, 107));
    assert.equal((await reader.read(reader.size, 0)).length, 0);
    await failsWith('store', reader.read(reader.size - 1, 2));
    await reader.close();
    await reader.close();
  });

  check('a blob written in any order, by writes at the same time, is committed', async (store) => {
    const blob = randomBlob(40 * PIECE);
    const partial = await begin(store, blob);
    const order = Array.from({ length: 40 }, (_, at) => (at * 17) % 40);
    await Promise.all(order.map((piece) => write(partial, blob, piece * PIECE, (piece + 1) * PIECE)));
    assert.deepEqual(partial.spans, [{ start: 0, end: 40 * PIECE }]);
    await partial.commit();
    await partial.close();
    assert.deepEqual(await buffer(await store.stream(blob.descriptor.digest)), blob.bytes);
  });

  check('the empty blob is committed without a write', async (store) => {
    const blob = blobOf(Buffer.alloc(0));
    const partial = await begin(store, blob);
    assert.equal(partial.has(0, 0), true);
    await partial.commit();
    await partial.close();
    assert.equal(await store.stat(blob.descriptor.digest), 0);
    assert.equal((await buffer(await store.stream(blob.descriptor.digest))).length, 0);
  });

  check('a partial blob knows what is written and reads only that', async (store) => {
    const blob = randomBlob(1000);
    const partial = await begin(store, blob);
    await write(partial, blob, 100, 200);
    await write(partial, blob, 300, 400);
    await write(partial, blob, 200, 250);
    assert.deepEqual(partial.spans, [
      { start: 100, end: 250 },
      { start: 300, end: 400 },
    ]);
    assert.equal(partial.written, 250);
    assert.equal(partial.has(100, 250), true);
    assert.equal(partial.has(99, 101), false);
    assert.equal(partial.has(240, 310), false);
    assert.deepEqual(Buffer.from(await partial.read(150, 100)), blob.bytes.subarray(150, 250));
    await failsWith('store', partial.read(240, 20));
    await failsWith('store', partial.read(0, 1));
    await partial.close();
  });

  check('what was written is there for the next one', async (store) => {
    const blob = randomBlob(10 * PIECE);
    const first = await begin(store, blob);
    await write(first, blob, 2 * PIECE, 5 * PIECE);
    await first.discard({ start: 3 * PIECE, end: 4 * PIECE });
    await first.close();
    await first.close();
    const second = await begin(store, blob);
    assert.deepEqual(second.spans, [
      { start: 2 * PIECE, end: 3 * PIECE },
      { start: 4 * PIECE, end: 5 * PIECE },
    ]);
    for (const [start, end] of [
      [0, 2],
      [3, 4],
      [5, 10],
    ] as const) {
      await write(second, blob, start * PIECE, end * PIECE);
    }
    await second.commit();
    await second.close();
    assert.deepEqual(await buffer(await store.stream(blob.descriptor.digest)), blob.bytes);
  });

  check('wrong bytes are not committed, and can be discarded and repaired', async (store) => {
    const blob = randomBlob(4 * PIECE);
    const partial = await begin(store, blob);
    await write(partial, blob, 0, 4 * PIECE);
    await partial.write(PIECE, Buffer.alloc(PIECE));
    await failsWith('verification', partial.commit());
    assert.equal(await store.stat(blob.descriptor.digest), undefined);
    assert.equal(partial.written, 4 * PIECE);
    await partial.discard({ start: PIECE, end: 2 * PIECE });
    await failsWith('verification', partial.commit());
    await write(partial, blob, PIECE, 2 * PIECE);
    await partial.commit();
    await partial.close();
  });

  check('right bytes over wrong ones verify', async (store) => {
    const blob = randomBlob(4 * PIECE);
    const partial = await begin(store, blob);
    await partial.write(0, Buffer.alloc(4 * PIECE));
    await failsWith('verification', partial.commit());
    for (const piece of [3, 1, 0, 2]) await write(partial, blob, piece * PIECE, (piece + 1) * PIECE);
    await partial.commit();
    await partial.close();
  });

  check('after everything is discarded it begins anew', async (store) => {
    const blob = randomBlob(3 * PIECE);
    const partial = await begin(store, blob);
    await partial.write(0, Buffer.alloc(3 * PIECE, 7));
    await partial.discard();
    assert.equal(partial.written, 0);
    await failsWith('store', partial.read(0, 1));
    await write(partial, blob, 0, 3 * PIECE);
    await partial.commit();
    await partial.close();
  });

  check('an incomplete blob is not committed', async (store) => {
    const blob = randomBlob(100);
    const partial = await begin(store, blob);
    await write(partial, blob, 0, 99);
    await failsWith('verification', partial.commit());
    await partial.close();
  });

  check('bytes past the end are refused', async (store) => {
    const blob = randomBlob(100);
    const partial = await begin(store, blob);
    await assert.rejects(partial.write(50, Buffer.alloc(51)), QuayctlError);
    await assert.rejects(partial.write(-1, Buffer.alloc(1)), QuayctlError);
    await partial.close();
  });

  check('a blob that is there is not begun again', async (store) => {
    const blob = await commit(store, randomBlob(1000));
    assert.equal(await store.begin(blob.descriptor, patience()), 'present');
    await failsWith('verification', store.begin({ ...blob.descriptor, size: 999 }, patience()));
    assert.equal(await store.stat(blob.descriptor.digest), 1000);
  });

  check('what is not there is not found', async (store) => {
    const nothing = digestFromHex('0'.repeat(64));
    assert.equal(await store.stat(nothing), undefined);
    await failsWith('not-found', store.open(nothing));
    await failsWith('not-found', store.stream(nothing));
  });

  check('a second caller waits and then finds it present', async (store) => {
    const blob = randomBlob(PIECE);
    const first = await begin(store, blob);
    const second = store.begin(blob.descriptor, patience());
    await write(first, blob, 0, PIECE);
    await first.commit();
    assert.equal(await second, 'present');
    await first.close();
  });

  check('a second caller goes on where the first let go', async (store) => {
    const blob = randomBlob(2 * PIECE);
    const first = await begin(store, blob);
    const waiting = store.begin(blob.descriptor, patience());
    await write(first, blob, 0, PIECE);
    await first.close();
    const second = await waiting;
    assert.ok(second !== 'present');
    assert.deepEqual(second.spans, [{ start: 0, end: PIECE }]);
    await write(second, blob, PIECE, 2 * PIECE);
    await second.commit();
    await second.close();
  });

  check('waiting ends with the signal, and the blob is still to be had', async (store) => {
    const blob = randomBlob(PIECE);
    const first = await begin(store, blob);
    const stop = new AbortController();
    const waiting = store.begin(blob.descriptor, stop.signal);
    stop.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    await first.close();
    await commit(store, blob);
  });

  check('of twenty callers one downloads', async (store) => {
    const blob = randomBlob(PIECE);
    let downloads = 0;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const partial = await store.begin(blob.descriptor, patience());
        if (partial === 'present') return;
        downloads++;
        await write(partial, blob, 0, PIECE);
        await partial.commit();
        await partial.close();
      }),
    );
    assert.equal(downloads, 1);
  });
}

async function begin(store: BlobStore, { descriptor }: TestBlob): Promise<PartialBlob> {
  const partial = await store.begin(descriptor, patience());
  assert.ok(partial !== 'present');
  return partial;
}

async function write(partial: PartialBlob, { bytes }: TestBlob, start: number, end: number): Promise<void> {
  await partial.write(start, bytes.subarray(start, end));
}

/** The whole way of a blob into a store. */
export async function commit(store: BlobStore, blob: TestBlob): Promise<TestBlob> {
  const partial = await begin(store, blob);
  await partial.write(0, blob.bytes);
  await partial.commit();
  await partial.close();
  return blob;
}

export async function failsWith(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof QuayctlError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}
