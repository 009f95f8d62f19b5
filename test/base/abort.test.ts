import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { orAborted } from '../../src/base/abort.ts';

test('the work, or the reason of the signal, whichever comes first', async () => {
  const abort = new AbortController();
  assert.equal(await orAborted(Promise.resolve(1), abort.signal), 1);
  await assert.rejects(orAborted(Promise.reject(new Error('failed')), abort.signal), /failed/);
  const waiting = orAborted(new Promise(() => {}), abort.signal);
  abort.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  await assert.rejects(orAborted(new Promise(() => {}), abort.signal), /enough/);
});

test('work that fails after the abort is nobody’s unhandled rejection, and no listener stays', async () => {
  const abort = new AbortController();
  const late = Promise.withResolvers<never>();
  const waiting = orAborted(late.promise, abort.signal);
  abort.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  late.reject(new Error('late'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
});
