import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { DownloadQueue } from '../../src/blobs/download-queue.ts';
import { digestOf } from '../../src/image/digest.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';

const MiB = 1024 * 1024;
const digest = (at: number) => digestOf(Buffer.from(String(at)));

/** Queues blobs in order and notes which have begun. */
function open(sizes: readonly number[]): { queue: DownloadQueue; begun: number[]; stops: AbortController[] } {
  const queue = new DownloadQueue();
  const begun: number[] = [];
  const stops = sizes.map((size, at) => {
    const stop = new AbortController();
    queue.begin(digest(at), size, stop.signal).then(
      () => begun.push(at),
      () => undefined,
    );
    return stop;
  });
  return { queue, begun, stops };
}

test('large blobs come one after the other, the next a little before the end of the one before', async (t) => {
  const time = new VirtualTime(t);
  const { queue, begun } = open([100 * MiB, 100 * MiB, MiB]);
  await time.advance(0);
  assert.deepEqual(begun, [0]);
  queue.moved(digest(0), 90 * MiB);
  await time.advance(0);
  assert.deepEqual(begun, [0]);
  queue.moved(digest(0), 93 * MiB);
  await time.advance(0);
  assert.deepEqual(begun, [0, 1]);
  queue.ended(digest(0));
  queue.moved(digest(1), 99 * MiB);
  await time.advance(0);
  assert.deepEqual(begun, [0, 1, 2]);
});

test('small blobs go side by side, but not without bound', async () => {
  const { queue, begun } = open(Array.from({ length: 7 }, () => 1000));
  await setImmediate();
  assert.deepEqual(begun, [0, 1, 2, 3, 4, 5]);
  queue.ended(digest(3));
  await setImmediate();
  assert.deepEqual(begun, [0, 1, 2, 3, 4, 5, 6]);
});

test('a blob that stalls does not hold up the others', async (t) => {
  const time = new VirtualTime(t);
  const { begun } = open([100 * MiB, 100 * MiB, 100 * MiB]);
  for (const [ms, expected] of [
    [900, [0]],
    [1260, [0, 1]],
    [2000, [0, 1]],
    [2600, [0, 1, 2]],
  ] as const) {
    await time.advance(ms - time.now);
    assert.deepEqual(begun, expected, `after ${ms} ms`);
  }
});

test('what is withdrawn takes no turn, and what is hurried takes the next', async (t) => {
  const time = new VirtualTime(t);
  const { queue, begun, stops } = open([100 * MiB, 100 * MiB, 100 * MiB, 100 * MiB]);
  stops[1]?.abort();
  queue.hurry(digest(3));
  await time.advance(0);
  queue.ended(digest(0));
  await time.advance(0);
  assert.deepEqual(begun, [0, 3]);
  queue.ended(digest(3));
  await time.advance(0);
  assert.deepEqual(begun, [0, 3, 2]);
});
