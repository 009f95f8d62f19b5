import assert from 'node:assert/strict';
import { test } from 'node:test';
import { delay } from '../../src/base/retry.ts';
import { QuayctlError } from '../../src/base/errors.ts';
import { Job, Jobs } from '../../src/serve/jobs.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';

const OPTIONS = {
  atOnce: 2,
  max: 4,
  presumedRate: 100,
  what: 'jobs wait',
  lasting: ['verification'],
  failureMs: 30_000,
} as const;
const nothing = async (): Promise<undefined> => undefined;

async function begin(
  jobs: Jobs<string>,
  key: string,
  work: (job: Job<string>, signal: AbortSignal) => Promise<string>,
): Promise<Job<string>> {
  const job = await jobs.get(key, nothing, 1000, work);
  assert.ok(job instanceof Job);
  return job;
}

/** Reads 100 bytes a second. */
const slow = async (job: Job<string>, signal: AbortSignal): Promise<string> => {
  for (let read = 0; read < 1000; read += 100) {
    job.advance(100);
    await delay(1000, signal);
  }
  return 'made';
};

test('a job is done once for all who ask, and what was made before is not made again', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const [one, two] = [await begin(jobs, 'a', slow), await begin(jobs, 'a', () => assert.fail())];
  assert.equal(one, two);
  assert.equal(await time.until(one.done), 'made');
  assert.equal(
    await jobs.get(
      'a',
      async () => 'kept',
      1000,
      () => assert.fail(),
    ),
    'kept',
  );
  assert.equal(jobs.keys.size, 0);
});

test('so many run at once; the time left counts those that come before; too many are refused', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const queued = [];
  for (const key of ['a', 'b', 'c', 'd']) queued.push(await begin(jobs, key, slow));
  await time.advance(2500);
  assert.deepEqual(
    queued.map(({ read }) => read),
    [300, 300, 0, 0],
  );
  const [, , third, last] = queued.map(({ etaSeconds }) => Math.round(etaSeconds));
  assert.deepEqual([third, last], [16, 21]);
  await assert.rejects(begin(jobs, 'e', slow), { code: 'limit', message: 'more than 4 jobs wait' });
  await time.until(Promise.all(queued.map(({ done }) => done)));
});

test("work with a caller's credential ends when nobody asks any more, other work does not", async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const forLong = (rides: boolean) => async (job: Job<string>, signal: AbortSignal) => {
    if (rides) job.rideOnCaller();
    await delay(200_000, signal);
    return 'made';
  };
  const [own, callers] = [
    await begin(jobs, 'own', forLong(false)),
    await begin(jobs, 'callers', forLong(true)),
  ];
  await time.advance(80_000);
  await begin(jobs, 'callers', () => assert.fail());
  await time.advance(80_000);
  assert.equal(jobs.keys.has('callers'), true);
  await assert.rejects(time.until(callers.done), { code: 'interrupted' });
  assert.ok(time.now < 180_000);
  assert.equal(await time.until(own.done), 'made');
});

test('a failure that would only repeat itself is remembered for a while; others are not', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  let tries = 0;
  const failing = (code: 'verification' | 'unreachable') => async (): Promise<string> => {
    tries++;
    throw new QuayctlError(code, 'as it is');
  };
  const attempt = async (code: 'verification' | 'unreachable'): Promise<void> => {
    await assert.rejects(async () => (await begin(jobs, code, failing(code))).done, { code });
  };
  for (const code of ['unreachable', 'unreachable', 'verification', 'verification'] as const)
    await attempt(code);
  assert.equal(tries, 3);
  await time.advance(30_100);
  await attempt('verification');
  assert.equal(tries, 4);
});

test('a close ends what runs and what waits', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const all = [await begin(jobs, 'a', slow), await begin(jobs, 'b', slow), await begin(jobs, 'c', slow)];
  await time.advance(1000);
  jobs.close();
  for (const { done } of all) await assert.rejects(time.until(done), { code: 'interrupted' });
});
