import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { patience, randomBlob } from './blobs.ts';
import { blobStoreSuite, commit } from './blob-store.suite.ts';
import { newStore, storeIn } from './open.ts';

blobStoreSuite('disk', async (t) => (await newStore(t)).store);

test('everything in a store is for its owner only, whatever the umask', async (t) => {
  const before = process.umask(0);
  t.after(() => process.umask(before));
  for (const umask of [0o000, 0o277]) {
    process.umask(umask);
    const { directory, store } = await newStore(t);
    await commit(store, randomBlob(1000));
    const partial = await store.begin(randomBlob(1000).descriptor, patience());
    assert.ok(partial !== 'present');
    await partial.write(0, Buffer.alloc(10));
    await using _lease = await store.lease([randomBlob(1).descriptor.digest]);
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    assert.ok(entries.length > 10);
    for (const entry of entries) {
      if (entry.isSymbolicLink()) continue;
      const path = join(entry.parentPath, entry.name);
      const mode = (await stat(path)).mode & 0o777;
      assert.equal(mode.toString(8), entry.isDirectory() ? '700' : '600', path);
    }
    await partial.close();
  }
});

test('two openings of one store wait for each other, and see what the other has committed', async (t) => {
  const { directory, store } = await newStore(t);
  const other = await storeIn(t, directory);
  const blob = randomBlob(100_000);
  const partial = await store.begin(blob.descriptor, patience());
  assert.ok(partial !== 'present');
  const waiting = other.begin(blob.descriptor, patience());
  await partial.write(0, blob.bytes);
  await partial.commit();
  await partial.close();
  assert.equal(await waiting, 'present');
  assert.equal(await other.stat(blob.descriptor.digest), 100_000);
});

test('a reader keeps reading what gc has removed', async (t) => {
  const { store } = await newStore(t);
  const blob = await commit(store, randomBlob(100_000));
  const reader = await store.open(blob.descriptor.digest);
  const other = await storeIn(t, (await newStore(t)).directory);
  await other.close();
  await store.gc(0);
  assert.deepEqual(Buffer.from(await reader.read(0, 100_000)), blob.bytes);
  await reader.close();
});

test('a committed blob of a wrong size, cut by another tool, is fetched again', async (t) => {
  const { directory, store } = await newStore(t);
  const blob = await commit(store, randomBlob(100_000));
  const { truncate } = await import('node:fs/promises');
  await truncate(join(directory, 'blobs/sha256', blob.descriptor.digest.slice(7)), 5000);
  await commit(store, blob);
  assert.equal(await store.stat(blob.descriptor.digest), 100_000);
});
