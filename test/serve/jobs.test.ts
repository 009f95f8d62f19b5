import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { delay } from '../../src/base/retry.ts';
import { Job, Jobs, type JobRequest } from '../../src/serve/jobs.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';

const OPTIONS = {
  limits: { what: 'jobs', atOnce: 2, atOnceEach: 2, most: 4, mostEach: 4 },
  presumedRate: 100,
  lasting: ['verification'],
  failureMs: 30_000,
  goneMs: 5_000,
} as const;

/** Reads 100 bytes a second, 1000 in all. */
const slow = async (job: Job<string>, signal: AbortSignal): Promise<string> => {
  for (let read = 0; read < 1000; read += 100) {
    job.advance(100);
    await delay(1000, signal);
  }
  return 'made';
};

const failures: string[] = [];
const request = (key: string, work: JobRequest<string>['work']): JobRequest<string> => ({
  key,
  what: `job ${key}`,
  size: 1000,
  claimants: ['site'],
  load: async () => undefined,
  work,
  onFailed: ({ message }) => void failures.push(message),
});

/** Begins it, and waits for it as a request does that stays. */
async function begin(
  jobs: Jobs<string>,
  key: string,
  work: JobRequest<string>['work'],
): Promise<Job<string>> {
  const job = await jobs.get(request(key, work));
  assert.ok(job instanceof Job);
  job.join();
  return job;
}

test('a job is done once for all who ask, and what was made before is not made again', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const [one, two] = [await begin(jobs, 'a', slow), await begin(jobs, 'a', () => assert.fail())];
  assert.equal(one, two);
  assert.equal(await time.until(one.done), 'made');
  const kept = { ...request('a', () => assert.fail()), load: async () => 'kept' };
  assert.equal(await jobs.get(kept), 'kept');
  assert.equal(jobs.keys.size, 0);
});

test('the time left counts those that come before; too many are refused', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const queued = [];
  for (const key of ['a', 'b', 'c', 'd']) queued.push(await begin(jobs, key, slow));
  await time.advance(2500);
  assert.deepEqual(
    queued.map(({ read }) => read),
    [300, 300, 0, 0],
  );
  // The rate of the first two is 120 bytes a second by now, that of the others is presumed.
  const [, , third, last] = queued.map(({ etaSeconds }) => Math.round(etaSeconds));
  assert.deepEqual([third, last], [16, 21]);
  await assert.rejects(begin(jobs, 'e', slow), { code: 'limit' });
  await time.until(Promise.all(queued.map(({ done }) => done)));
});

test('work that nobody waits for ends, sooner where the client left than where it was told to come back', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const endless = (_: Job<string>, signal: AbortSignal): Promise<string> =>
    delay(1e6, signal).then(() => 'made');
  for (const [how, ms] of [
    ['gone', 5_000],
    ['told', 90_000],
  ] as const) {
    const job = await jobs.get(request(how, endless));
    assert.ok(job instanceof Job);
    const leave = job.join();
    await time.advance(120_000);
    assert.equal(job.isAbandoned, false, 'for as long as somebody waits');
    leave(how);
    const left = time.now;
    await assert.rejects(time.until(job.done), {
      code: 'interrupted',
      message: `nobody waits for job ${how} any more`,
    });
    assert.ok(Math.abs(time.now - left - ms) < 1100, `${how}: after ${time.now - left} ms`);
  }
  assert.equal(failures.filter((text) => text.startsWith('nobody waits')).length, 2);
});

test('a failure that would only repeat itself is remembered for a while; others are not', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  let tries = 0;
  const attempt = async (code: 'verification' | 'unreachable'): Promise<void> => {
    const failing = async (): Promise<string> => {
      tries++;
      throw new QuayctlError(code, 'as it is');
    };
    const made = async (): Promise<string> => (await begin(jobs, code, failing)).done;
    await assert.rejects(time.until(made()), { code });
  };
  for (const code of ['unreachable', 'unreachable', 'verification', 'verification'] as const)
    await attempt(code);
  assert.equal(tries, 3);
  await time.advance(30_100);
  await attempt('verification');
  assert.equal(tries, 4);
});

test('a close ends what runs and what waits, and tells of no failure', async (t) => {
  const time = new VirtualTime(t);
  const jobs = new Jobs<string>(OPTIONS);
  const all = [await begin(jobs, 'a', slow), await begin(jobs, 'b', slow), await begin(jobs, 'c', slow)];
  await time.advance(1000);
  failures.length = 0;
  jobs.close();
  for (const { done } of all) await assert.rejects(time.until(done), { code: 'interrupted' });
  assert.deepEqual(failures, []);
});
