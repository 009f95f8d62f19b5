import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Leases } from '../../src/store/leases.ts';
import { Locks } from '../../src/store/locks.ts';
import { thisProcess, type Owner } from '../../src/store/owner.ts';
import { startProcess, type Scope } from '../helpers/processes.ts';
import { patience } from './blobs.ts';
import { newStore } from './open.ts';

const ID = '11111111-2222-4333-8444-555555555555';

async function locksIn(scope: Scope, directory: string, self?: Owner): Promise<Locks> {
  const own = join(directory, 'quayctl');
  const leases = new Leases(join(own, 'leases'), join(own, 'tmp'), self ?? (await thisProcess()));
  scope.after(() => leases.close());
  return new Locks(join(own, 'locks'), leases);
}

/** A lock as another process would have left or hold it. */
async function foreignLock(directory: string, owner: Owner, beatMsAgo = 0): Promise<void> {
  const path = join(directory, 'quayctl', 'leases', ID);
  await writeFile(path, `${JSON.stringify(owner)}\n`);
  const beat = new Date(Date.now() - beatMsAgo);
  await utimes(path, beat, beat);
  await symlink(ID, join(directory, 'quayctl', 'locks', 'x.1'));
}

test('a lock is held by one at a time, in a process too', async (t) => {
  const { directory } = await newStore(t);
  const all = await Promise.all([1, 2, 3].map(() => locksIn(t, directory)));
  let holders = 0;
  await Promise.all(
    [...all, ...all].map(async (locks) => {
      for (let n = 0; n < 10; n++) {
        const lock = await locks.acquire('x', patience());
        assert.equal(++holders, 1);
        await new Promise(setImmediate);
        holders--;
        await lock.release();
        await lock.release();
      }
    }),
  );
  assert.deepEqual(await readdir(join(directory, 'quayctl', 'locks')), []);
});

const HOUR_MS = 3_600_000;
const verdicts: readonly (readonly [string, (self: Owner) => Owner, number, boolean])[] = [
  ['a live process, though it has not beaten for an hour', (self) => self, HOUR_MS, false],
  ['a process that is gone', (self) => ({ ...self, pid: 2 ** 22 - 1 }), 0, true],
  ['a pid that is another process now', (self) => ({ ...self, startTime: '1' }), 0, true],
  ['another host that beats', (self) => ({ ...self, bootId: 'other', hostname: 'other', pid: 1 }), 0, false],
  [
    'another host, silent for an hour (it may have slept)',
    (self) => ({ ...self, bootId: 'other' }),
    HOUR_MS,
    false,
  ],
  ['another host, silent for a month', (self) => ({ ...self, bootId: 'other' }), 30 * 24 * HOUR_MS, true],
  [
    'another pid namespace that beats',
    (self) => ({ ...self, pidNamespace: 'pid:[1]', pid: 2 ** 22 - 1 }),
    0,
    false,
  ],
];
for (const [what, owner, silence, isTaken] of verdicts) {
  test(`the lock of ${what} is ${isTaken ? 'taken over at once' : 'left alone'}`, async (t) => {
    const { directory } = await newStore(t);
    await foreignLock(directory, owner(await thisProcess()), silence);
    const locks = await locksIn(t, directory);
    const lock = await locks.tryAcquire('x');
    assert.equal(lock !== undefined, isTaken);
    await lock?.release();
  });
}

test('the lock of an owner whose record is gone is taken over, one of garbage waits for its heartbeat', async (t) => {
  const { directory } = await newStore(t);
  await symlink(ID, join(directory, 'quayctl', 'locks', 'x.1'));
  const locks = await locksIn(t, directory);
  await (await locks.tryAcquire('x'))?.release();
  assert.deepEqual(await readdir(join(directory, 'quayctl', 'locks')), []);
  await symlink(ID, join(directory, 'quayctl', 'locks', 'x.7'));
  await writeFile(join(directory, 'quayctl', 'leases', ID), 'garbage');
  assert.equal(await locks.tryAcquire('x'), undefined);
});

test('a process that is stopped, or was killed and not yet waited for, is told apart', async (t) => {
  const { directory } = await newStore(t);
  const sleeper = startProcess('sleep', ['60']);
  t.after(() => sleeper.kill('SIGKILL'));
  const self = await thisProcess();
  const locks = await locksIn(t, directory);
  await waitUntilNamed(sleeper.pid);
  await foreignLock(
    directory,
    { ...self, pid: sleeper.pid, startTime: await startTimeOf(sleeper.pid) },
    HOUR_MS,
  );
  process.kill(sleeper.pid, 'SIGSTOP');
  assert.equal(await locks.tryAcquire('x'), undefined);
  await sleeper.kill('SIGKILL');
  assert.ok(await locks.tryAcquire('x'));
});

async function startTimeOf(pid: number): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  const text = await readFile(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

/** exec keeps pid and start time; this only waits until the process is there. */
async function waitUntilNamed(pid: number): Promise<void> {
  while ((await startTimeOf(pid).catch(() => '')) === '') await once(AbortSignal.timeout(5), 'abort');
}
