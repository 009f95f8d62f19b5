import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patience, randomBlob } from './blobs.ts';
import { newStore, storeIn } from './open.ts';
import { commitInto, imageOf, pullInto } from './resolved.ts';

test('what others add after the last look is told', async (t) => {
  const { store, directory } = await newStore(t);
  await store.listImages();
  const other = await storeIn(t, directory);
  // Between the look and the beginning of the watch.
  await commitInto(other, randomBlob(10));
  const stop = new AbortController();
  const changes = store.changes(AbortSignal.any([stop.signal, patience()]))[Symbol.asyncIterator]();
  assert.equal((await changes.next()).done, false);
  const next = changes.next();
  const image = imageOf('example.com/app:1', [randomBlob(10)]);
  await pullInto(other, image);
  assert.equal((await next).done, false);
  await other.removeImage(image.reference);
  assert.equal((await changes.next()).done, false);
  const last = changes.next();
  stop.abort();
  while (!(await last).done && !(await changes.next()).done);
});

test('while nothing changes nothing is told, and the signal ends it', async (t) => {
  const { store } = await newStore(t);
  await store.listImages();
  let told = 0;
  for await (const _ of store.changes(AbortSignal.timeout(600))) told++;
  assert.equal(told, 0);
});
