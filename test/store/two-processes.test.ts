import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { startProcess, type RunningProcess, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { patience } from './blobs.ts';
import { seededBlob } from './child.ts';
import { newStore, storeIn } from './open.ts';

const MIB = 1024 * 1024;
const CHILD = join(import.meta.dirname, 'child.ts');

function startChild(t: Scope, ...args: readonly (string | number)[]): RunningProcess {
  const child = startProcess(process.execPath, [CHILD, ...args.map(String)]);
  t.after(async () => {
    await child.kill('SIGKILL');
  });
  return child;
}

test('after kill -9 in the middle of writes the next one goes on at once, with true bytes', async (t) => {
  const { directory, store } = await newStore(t);
  const blob = seededBlob('kill', 4 * MIB);
  const child = startChild(t, 'write', directory, 'kill', 4 * MIB);
  await child.waitFor(new RegExp(`written ${Math.round(2.5 * MIB)}`), 120_000);
  await child.kill('SIGKILL');
  const said = Number([...child.stdout().matchAll(/written (\d+)/g)].at(-1)?.[1]);

  const asked = performance.now();
  const partial = await store.begin(blob.descriptor, patience());
  assert.ok(partial !== 'present');
  assert.ok(
    performance.now() - asked < 2000,
    `${performance.now() - asked} ms for the lock of a dead process`,
  );
  assert.ok(partial.written >= said, `${partial.written} of ${said} bytes survived`);
  for (const { start, end } of partial.spans) {
    const kept = Buffer.from(await partial.read(start, end - start));
    assert.ok(kept.equals(blob.bytes.subarray(start, end)), `bytes ${start} to ${end}`);
  }
  await partial.write(0, blob.bytes);
  await partial.commit();
  await partial.close();
  assert.deepEqual(await buffer(await store.stream(blob.descriptor.digest)), blob.bytes);
});

test('a process that waits takes over from one that is killed', async (t) => {
  const { directory, store } = await newStore(t);
  const blob = seededBlob('wait', 4 * MIB);
  const child = startChild(t, 'write', directory, 'wait', 4 * MIB);
  await child.waitFor(/written 163840/);
  const waiting = store.begin(blob.descriptor, patience());
  const early = await Promise.race([waiting, child.waitFor(/written 655360/)]);
  assert.ok(Array.isArray(early), 'the lock of a live process was taken');
  await child.kill('SIGKILL');
  const killed = performance.now();
  const partial = await waiting;
  assert.ok(partial !== 'present');
  assert.ok(performance.now() - killed < 1000);
  assert.ok(partial.written >= 655360);
  await partial.close();
});

const skip = skipWithout('root');

test('a process in another container, whose pid says nothing here, keeps its lock', { skip }, async (t) => {
  const { directory, store } = await newStore(t);
  const blob = seededBlob('contained', MIB);
  const contained = ['--pid', '--fork', '--kill-child', '--mount-proc', process.execPath];
  const child = startProcess('unshare', [...contained, CHILD, 'hold', directory, 'contained', String(MIB)]);
  t.after(async () => {
    await child.kill('SIGKILL');
  });
  await child.waitFor(/holding/);
  const waiting = store.begin(blob.descriptor, AbortSignal.timeout(1500));
  await assert.rejects(waiting, { name: 'TimeoutError' });
  await store.gc(0);
  assert.deepEqual(await readdir(join(directory, 'quayctl/partial')), [
    blob.descriptor.digest.slice(7),
    `${blob.descriptor.digest.slice(7)}.spans`,
  ]);
});

test('of many that wait for a killed one, one downloads', async (t) => {
  const { directory } = await newStore(t);
  const blob = seededBlob('many', MIB);
  const child = startChild(t, 'hold', directory, 'many', MIB);
  await child.waitFor(/holding/);
  const openings = await Promise.all(Array.from({ length: 8 }, () => storeIn(t, directory)));
  let downloads = 0;
  let inside = 0;
  const all = openings.flatMap((store) =>
    [1, 2, 3].map(async () => {
      const partial = await store.begin(blob.descriptor, patience());
      if (partial === 'present') return;
      assert.equal(++inside, 1);
      downloads++;
      await partial.write(0, blob.bytes);
      inside--;
      await partial.commit();
      await partial.close();
    }),
  );
  await child.kill('SIGKILL');
  await Promise.all(all);
  assert.equal(downloads, 1);
});

test('three processes that want the same 20 blobs write each byte once, gc or not', async (t) => {
  const { directory, store } = await newStore(t);
  const size = 256 * 1024;
  const children = [1, 2, 3].map(() => startChild(t, 'pull', directory, 'race', 20, size));
  await Promise.all(children.map((child) => child.waitFor(/leased/)));
  const said = (child: RunningProcess): string | undefined => /downloaded (\d+)/.exec(child.stdout())?.[1];
  // From the first that is done on, what it leased may go; all three have leased the same.
  do await store.gc(0);
  while (!children.some((child) => said(child) !== undefined));
  const exits = await Promise.all(children.map((child) => child.exited));
  assert.deepEqual(
    exits.map(({ code }) => code),
    [0, 0, 0],
    children.map((child) => child.stderr()).join(''),
  );
  assert.equal(
    children.reduce((sum, child) => sum + Number(said(child)), 0),
    20 * size,
  );
});
