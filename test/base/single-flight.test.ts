import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SingleFlight } from '../../src/base/single-flight.ts';

test('all who ask together get one answer, later ones the same while it is fresh', async (t) => {
  const shared = new SingleFlight<number>();
  let made = 0;
  const make = async (): Promise<number> => {
    await sleep(5);
    return ++made;
  };
  const get = (isFresh?: (value: number) => boolean): Promise<number> => shared.get(make, t.signal, isFresh);
  assert.deepEqual(await Promise.all([get(), get(), get()]), [1, 1, 1]);
  assert.equal(await get(), 1);
  const isNew = (value: number): boolean => value > 1;
  assert.deepEqual(await Promise.all([get(isNew), get(isNew), get(isNew)]), [2, 2, 2]);
  shared.forget();
  assert.equal(await get(), 3);
});

test('a failure is for all who waited, and not kept', async (t) => {
  const shared = new SingleFlight<string>();
  let calls = 0;
  const fail = async (): Promise<string> => {
    await sleep(5);
    throw new Error(`failure ${++calls}`);
  };
  const results = await Promise.allSettled([1, 2, 3].map(() => shared.get(fail, t.signal)));
  assert.deepEqual(
    results.map((result) => result.status === 'rejected' && String(result.reason)),
    Array.from({ length: 3 }, () => 'Error: failure 1'),
  );
  assert.equal(await shared.get(() => Promise.resolve('well'), t.signal), 'well');
});

test('whoever leaves does not take the answer from the others', async (t) => {
  const shared = new SingleFlight<string>();
  const leaving = new AbortController();
  const first = shared.get((signal) => sleep(10_000, 'never', { signal }), leaving.signal);
  const second = shared.get(() => Promise.resolve('started anew'), t.signal);
  leaving.abort();
  await assert.rejects(first);
  assert.equal(await second, 'started anew');
});
