import assert from 'node:assert/strict';
import { readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { statfs } from 'node:fs/promises';
import type { Store } from '../../src/store/store.ts';
import { patience, randomBlob, type TestBlob } from './blobs.ts';
import { newStore, storeIn } from './open.ts';
import { commitInto, imageOf, isWhole, pullInto, type TestImage } from './resolved.ts';

const KB = 1000;
const DAY_MS = 86_400_000;

/** Images pulled by runs that are over, the first one used longest ago. */
async function oldImages(directory: string, images: readonly TestImage[]): Promise<void> {
  const puller = await storeIn({ after: () => undefined }, directory);
  for (const image of images) await pullInto(puller, image);
  for (const [at, image] of images.entries()) {
    await age(puller, image.document.descriptor.digest, (images.length - at) * 3_600_000);
  }
  await puller.close();
}

async function age(store: Store, digest: TestBlob['descriptor']['digest'], ms: number): Promise<void> {
  const then = new Date(Date.now() - ms);
  await utimes(store.blobFile(digest), then, then);
}

test('the least recently used images go, down to the limit', async (t) => {
  const { store, directory } = await newStore(t);
  const images = [1, 2, 3, 4].map((n) => imageOf(`example.com/app:${n}`, [randomBlob(100 * KB)]));
  await oldImages(directory, images);
  const { freed, left } = await store.gc(250 * KB);
  assert.ok(left <= 250 * KB && freed >= 200 * KB, `${freed} freed, ${left} left`);
  assert.deepEqual(await Promise.all(images.map((image) => isWhole(store, image))), [
    false,
    false,
    true,
    true,
  ]);
  assert.equal((await store.listImages()).length, 2);
});

test('an image that was looked up is used last', async (t) => {
  const { store, directory } = await newStore(t);
  const [first, second] = [1, 2].map((n) => imageOf(`example.com/app:${n}`, [randomBlob(100 * KB)])) as [
    TestImage,
    TestImage,
  ];
  await oldImages(directory, [first, second]);
  assert.ok(await store.findImage(first.reference));
  await store.gc(150 * KB);
  assert.equal(await isWhole(store, first), true);
  assert.equal(await isWhole(store, second), false);
});

test('layers that a kept image shares stay', async (t) => {
  const { store, directory } = await newStore(t);
  const base = randomBlob(100 * KB);
  const old = imageOf('example.com/old:1', [base, randomBlob(50 * KB)]);
  const kept = imageOf('example.com/kept:1', [base, randomBlob(20 * KB)]);
  await oldImages(directory, [old, kept]);
  await store.gc(130 * KB);
  assert.equal(await isWhole(store, kept), true);
  assert.equal((await store.listImages()).length, 1);
});

test('within the limit nothing goes, not even what no image needs', async (t) => {
  const { store, directory } = await newStore(t);
  const puller = await storeIn(t, directory);
  const blob = randomBlob(KB);
  await commitInto(puller, blob);
  await puller.close();
  assert.equal((await store.gc(KB)).freed, 0);
  assert.equal(await store.stat(blob.descriptor.digest), KB);
});

test('what another opened store leases, reads or is writing stays', async (t) => {
  const { store, directory } = await newStore(t);
  const [leased, read, free] = [1, 2, 3].map((n) =>
    imageOf(`example.com/app:${n}`, [randomBlob(10 * KB)]),
  ) as [TestImage, TestImage, TestImage];
  await oldImages(directory, [leased, read, free]);
  const other = await storeIn(t, directory);
  const lease = await other.lease(leased.layers.map(({ descriptor }) => descriptor.digest));
  const reader = await other.open(read.config.descriptor.digest);
  const unfinished = randomBlob(10 * KB);
  const partial = await other.begin(unfinished.descriptor, patience());
  assert.ok(partial !== 'present');
  await partial.write(0, unfinished.bytes.subarray(0, 5 * KB));
  await store.gc(0);
  assert.deepEqual(await Promise.all([leased, read, free].map((image) => isWhole(store, image))), [
    true,
    true,
    false,
  ]);
  await partial.write(5 * KB, unfinished.bytes.subarray(5 * KB));
  await partial.commit();
  await partial.close();
  await store.gc(0);
  assert.equal(await store.stat(unfinished.descriptor.digest), 10 * KB, 'committed by a pull that goes on');
  await lease.close();
  await reader.close();
  await other.close();
  assert.equal((await store.gc(0)).left, 0);
});

test('a lease on what is not here yet protects it once it is', async (t) => {
  const { store, directory } = await newStore(t);
  const blob = randomBlob(KB);
  const puller = await storeIn(t, directory);
  await commitInto(puller, blob);
  await using _lease = await (await storeIn(t, directory)).lease([blob.descriptor.digest]);
  await puller.close();
  await store.gc(0);
  assert.equal(await store.stat(blob.descriptor.digest), KB);
});

test('a reader that outlives its store leaves no lease behind', async (t) => {
  const { store, directory } = await newStore(t);
  const blob = randomBlob(KB);
  await commitInto(store, blob);
  const reader = await store.open(blob.descriptor.digest);
  await store.close();
  assert.deepEqual(Buffer.from(await reader.read(0, KB)), blob.bytes);
  await reader.close();
  assert.deepEqual(await readdir(join(directory, 'quayctl', 'leases')), []);
});

test('the gc at the end of a pull does not take what was pulled', async (t) => {
  const { store } = await newStore(t);
  const image = imageOf('example.com/app:1', [randomBlob(10 * KB)]);
  await pullInto(store, image);
  await store.gc(0);
  assert.equal(await isWhole(store, image), true);
});

test('what an interrupted pull left goes after the images, after a week before them', async (t) => {
  const { store, directory } = await newStore(t);
  const image = imageOf('example.com/app:1', [randomBlob(10 * KB)]);
  await oldImages(directory, [image]);
  const puller = await storeIn(t, directory);
  const orphan = randomBlob(10 * KB);
  await commitInto(puller, orphan);
  const unfinished = randomBlob(100 * KB);
  const partial = await puller.begin(unfinished.descriptor, patience());
  assert.ok(partial !== 'present');
  await partial.write(0, unfinished.bytes.subarray(0, 10 * KB));
  await partial.close();
  await puller.close();
  const file = join(directory, 'quayctl', 'partial', orphanName(unfinished));
  const then = new Date(Date.now() - 8 * DAY_MS);
  await utimes(file, then, then);
  await store.gc(25 * KB);
  assert.deepEqual(await readdir(join(directory, 'quayctl', 'partial')), []);
  assert.equal(await isWhole(store, image), true);
  await store.gc(15 * KB);
  assert.equal(await store.stat(orphan.descriptor.digest), 10 * KB);
  assert.deepEqual(await store.listImages(), []);
  assert.equal((await store.gc(0)).left, 0);
});

function orphanName({ descriptor }: TestBlob): string {
  return descriptor.digest.slice('sha256:'.length);
}

test('the limit is remembered; without one it is a fifth of the file system', async (t) => {
  const { store, directory } = await newStore(t);
  const { blocks, bsize } = await statfs(directory);
  assert.equal((await store.usage()).limit, Math.floor(blocks * bsize * 0.2));
  await store.gc(123_456);
  assert.equal((await (await storeIn(t, directory)).usage()).limit, 123_456);
  await writeFile(join(directory, 'quayctl', 'limit'), 'garbage');
  assert.equal((await store.usage()).limit, Math.floor(blocks * bsize * 0.2));
});

test('images that share a base layer with one in use go all the same; the layer stays', async (t) => {
  const { store, directory } = await newStore(t);
  const base = randomBlob(50 * KB);
  const images = [1, 2, 3, 4].map((n) => imageOf(`example.com/app:${n}`, [base, randomBlob(100 * KB)]));
  await oldImages(directory, images.slice(0, 3));
  const last = images.at(-1) ?? assert.fail();
  // As the pull that is just over: what it brought, and what it found here, is leased.
  await pullInto(store, last);
  const lease = await store.lease([base.descriptor.digest]);
  const { left } = await store.gc(180 * KB);
  assert.ok(left <= 180 * KB, `${left} left`);
  assert.equal(await isWhole(store, last), true);
  assert.equal((await store.listImages()).length, 1);
  await lease.close();
});

test('a dry run says what would go and takes nothing', async (t) => {
  const { store, directory } = await newStore(t);
  const images = [1, 2, 3].map((n) => imageOf(`example.com/app:${n}`, [randomBlob(100 * KB)]));
  await oldImages(directory, images);
  const planned = await store.gc(150 * KB, true);
  assert.deepEqual(
    planned.removed.map(({ kind, name }) => [kind, name]),
    [
      ['image', 'example.com/app:1'],
      ['image', 'example.com/app:2'],
    ],
  );
  assert.equal((await store.listImages()).length, 3);
  assert.notEqual((await store.usage()).limit, 150 * KB, 'nothing is remembered');
  const done = await store.gc(150 * KB);
  assert.deepEqual(done, planned);
});

test('what is open and yields can be chosen; it can be read until it is closed', async (t) => {
  const { store, directory } = await newStore(t);
  const blob = randomBlob(100 * KB);
  const image = imageOf('example.com/app:1', [blob]);
  await oldImages(directory, [image]);
  const seed = await storeIn(t, directory);
  const reader = await seed.open(blob.descriptor.digest, { yields: true });
  await store.gc(0);
  assert.equal(await isWhole(store, image), false);
  const bytes = await reader.read(0, reader.size);
  assert.ok(blob.bytes.equals(bytes));
  await reader.close();
});
