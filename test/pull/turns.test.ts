import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { Turns } from '../../src/pull/turns.ts';

const MiB = 1024 * 1024;
const digest = (at: number) => digestOf(Buffer.from(String(at)));

/** Asks for turns in order and keeps book of who has begun. */
function open(t: TestContext, sizes: readonly number[]): { turns: Turns; begun: number[] } {
  const turns = new Turns();
  t.after(() => turns.close());
  const begun: number[] = [];
  for (const [at, size] of sizes.entries()) void turns.begin(digest(at), size).then(() => begun.push(at));
  return { turns, begun };
}

test('large blobs come one after the other, the next a little before the end of the one before', async (t) => {
  const { turns, begun } = open(t, [100 * MiB, 100 * MiB, MiB]);
  await setImmediate();
  assert.deepEqual(begun, [0]);
  turns.moved(digest(0), 80 * MiB);
  await setImmediate();
  assert.deepEqual(begun, [0]);
  turns.moved(digest(0), 85 * MiB);
  await setImmediate();
  assert.deepEqual(begun, [0, 1]);
  turns.ended(digest(0));
  turns.moved(digest(1), 99 * MiB);
  await setImmediate();
  assert.deepEqual(begun, [0, 1, 2]);
});

test('small blobs go side by side, but not without bound', async (t) => {
  const { turns, begun } = open(
    t,
    Array.from({ length: 10 }, () => 1000),
  );
  await setImmediate();
  assert.deepEqual(begun, [0, 1, 2, 3, 4, 5]);
  turns.ended(digest(3));
  await setImmediate();
  assert.deepEqual(begun, [0, 1, 2, 3, 4, 5, 6]);
});

test('a blob that stalls does not hold up the others', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const { begun } = open(t, [100 * MiB, 100 * MiB, 100 * MiB]);
  for (const [ms, expected] of [
    [900, [0]],
    [1250, [0, 1]],
    [2000, [0, 1]],
    [2500, [0, 1, 2]],
  ] as const) {
    now = ms;
    t.mock.timers.tick(250);
    await setImmediate();
    assert.deepEqual(begun, expected, `after ${ms} ms`);
  }
});

test('an end lets everybody go, so that nobody waits for ever', async (t) => {
  const { turns, begun } = open(t, [100 * MiB, 100 * MiB, 100 * MiB]);
  turns.close();
  await setImmediate();
  assert.deepEqual(begun, [0, 1, 2]);
});
