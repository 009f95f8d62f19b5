import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { startWatchdog } from '../../src/cli/watchdog.ts';

test('a process whose main loop stands still is ended by its watchdog', async (t) => {
  const child = spawn(process.execPath, [`${import.meta.dirname}/watchdog-process.ts`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  child.stdin.write('\n');
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  assert.equal(signal, 'SIGKILL');
});

test('a watchdog can be stopped', async () => {
  await assert.doesNotReject(startWatchdog()());
});
