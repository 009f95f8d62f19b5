import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, type Scope } from './processes.ts';

/** A new empty directory that goes away with the test. */
export async function tempDirectory(scope: Scope, label = 'test'): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), `quayctl-${label}-`));
  scope.after(() => removeTree(path));
  return path;
}

/** Removes a tree and, before that, whatever an engine has left mounted in it. */
export async function removeTree(path: string): Promise<void> {
  for (const mount of await mountsBelow(path)) await run('umount', ['--lazy', mount]);
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

async function mountsBelow(path: string): Promise<string[]> {
  const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const points = table.split('\n').flatMap((line) => line.split(' ')[4] ?? []);
  return points.filter((point) => point.startsWith(`${path}/`)).sort((a, b) => b.length - a.length);
}
