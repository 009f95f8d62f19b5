import assert from 'node:assert/strict';
import test from 'node:test';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';

test('the rate holds over all who take', async () => {
  const limiter = createRateLimiter(1_000_000);
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let taken = 0; taken < 100_000; taken += 10_000) await limiter.take(10_000);
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  // 400,000 bytes, of which a tenth of a second's worth, and the last take, pass at once.
  assert.ok(seconds > 0.25 && seconds < 1, `${seconds}`);
});

test('0 is unlimited', async () => {
  const startedAt = performance.now();
  for (let round = 0; round < 100; round++) await createRateLimiter(0).take(1e9);
  assert.ok(performance.now() - startedAt < 1000);
});

test('a waiting take ends with its signal, and gives its turn back', async () => {
  const limiter = createRateLimiter(1000);
  await limiter.take(100);
  await limiter.take(100);
  const abort = new AbortController();
  const waiting = limiter.take(1_000_000, abort.signal);
  abort.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  const startedAt = performance.now();
  await limiter.take(1);
  assert.ok(performance.now() - startedAt < 1000);
  await assert.rejects(limiter.take(1, abort.signal), /enough/);
  await assert.rejects(createRateLimiter(0).take(1, abort.signal), /enough/);
});

test('who takes last waits for all who take meanwhile, and not for ever', async () => {
  const limiter = createRateLimiter(100_000);
  // A burst, and what is to be paid for.
  await limiter.take(20_000);
  const order: string[] = [];
  const last = limiter.takeLast(10_000).then(() => order.push('last'));
  const first = limiter
    .take(10_000)
    .then(() => limiter.take(10_000))
    .then(() => order.push('first'));
  await Promise.all([last, first]);
  assert.deepEqual(order, ['first', 'last']);
  const abort = new AbortController();
  await limiter.take(100_000);
  const waiting = limiter.takeLast(1, abort.signal);
  abort.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
});
