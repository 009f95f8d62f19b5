import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Semaphore } from '../../src/base/semaphore.ts';

test('so many tasks run at the same time, the others in the order in which they came', async () => {
  const semaphore = new Semaphore(2);
  const begun: number[] = [];
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const done = gates.map((gate, at) =>
    semaphore.run(async () => {
      begun.push(at);
      await gate.promise;
    }),
  );
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  await settled();
  assert.deepEqual([begun, semaphore.waiting], [[0, 1], 3]);
  gates[1]?.resolve();
  await done[1];
  gates[2]?.resolve();
  await done[2];
  await settled();
  assert.deepEqual(begun, [0, 1, 2, 3]);
  for (const gate of gates) gate.resolve();
  await Promise.all(done);
  assert.deepEqual(begun, [0, 1, 2, 3, 4]);
});

test('a task that fails gives its place on', async () => {
  const semaphore = new Semaphore(1);
  const failing = semaphore.run(() => Promise.reject(new Error('broken')));
  const next = semaphore.run(() => Promise.resolve('well'));
  await assert.rejects(failing, /broken/);
  assert.equal(await next, 'well');
});

test('who stops waiting leaves the line, and takes no place with him', async () => {
  const semaphore = new Semaphore(1);
  const gate = Promise.withResolvers<void>();
  const first = semaphore.run(() => gate.promise);
  const leaving = new AbortController();
  const second = semaphore.run(() => assert.fail('it left'), leaving.signal);
  const third = semaphore.run(() => Promise.resolve('third'));
  leaving.abort(new Error('enough'));
  await assert.rejects(second, /enough/);
  gate.resolve();
  await first;
  assert.equal(await third, 'third');
  await assert.rejects(
    semaphore.run(() => Promise.resolve(), leaving.signal),
    /enough/,
  );
  assert.equal(await semaphore.run(() => Promise.resolve('free')), 'free');
});

test('a turn that comes in the moment of the abort is not lost', async () => {
  const semaphore = new Semaphore(1);
  const gate = Promise.withResolvers<void>();
  const leaving = new AbortController();
  const first = semaphore.run(() => gate.promise);
  const second = semaphore.run(() => Promise.resolve(), leaving.signal);
  gate.resolve();
  leaving.abort(new Error('enough'));
  await first;
  await second.catch(() => undefined);
  assert.equal(await semaphore.run(() => Promise.resolve('free')), 'free');
});
