import assert from 'node:assert/strict';
import { test } from 'node:test';
import { delay, retry } from '../../src/base/retry.ts';

const options = { attempts: 4, firstDelayMs: 1, maxDelayMs: 2, verdict: () => undefined };

test('work is tried until it succeeds, or has had its attempts', async (t) => {
  let calls = 0;
  const third = async (): Promise<string> => (++calls < 3 ? Promise.reject(new Error('no')) : 'yes');
  assert.equal(await retry(third, { ...options, signal: t.signal }), 'yes');
  assert.equal(calls, 3);
  calls = -10;
  await assert.rejects(retry(third, { ...options, signal: t.signal }), { message: 'no' });
  assert.equal(calls, -6);
});

test('a verdict ends it, or says how long to wait', async (t) => {
  let calls = 0;
  const never = (): Promise<never> => Promise.reject(new Error(`${++calls}`));
  await assert.rejects(retry(never, { ...options, verdict: () => 'stop', signal: t.signal }), {
    message: '1',
  });
  const started = performance.now();
  await assert.rejects(retry(never, { ...options, attempts: 2, verdict: () => 60, signal: t.signal }));
  assert.ok(performance.now() - started >= 58);
});

test('a signal ends the wait with its own reason', async () => {
  const abort = new AbortController();
  const reason = new Error('enough');
  setTimeout(() => abort.abort(reason), 10);
  const waiting = retry(() => Promise.reject(new Error('no')), {
    ...options,
    firstDelayMs: 60_000,
    maxDelayMs: 60_000,
    signal: abort.signal,
  });
  await assert.rejects(waiting, (error) => error === reason);
  await assert.rejects(delay(60_000, abort.signal), (error) => error === reason);
});
