import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TokenBucket } from '../../src/base/token-bucket.ts';

test('a burst at once, then as many as are earned', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 3 });
  assert.deepEqual(
    [0, 0, 0, 0, 99, 100, 101, 5000, 5000, 5000, 5000].map((now) => bucket.tryTake(1, now)),
    [true, true, true, false, false, true, false, true, true, true, false],
  );
});

test('more than the bucket ever holds is refused, and costs nothing', () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 3 });
  assert.equal(bucket.tryTake(4, 0), false);
  assert.equal(bucket.tryTake(3, 0), true);
});

test('a burst of one is an even rate', () => {
  const bucket = new TokenBucket({ perSecond: 3, burst: 1 });
  let taken = 0;
  for (let now = 0; now <= 10_000; now++) taken += bucket.tryTake(1, now) ? 1 : 0;
  assert.ok(taken >= 29 && taken <= 31, String(taken));
});
