import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Receipt } from '../src/pull/receipt.ts';
import { startProcess, type RunningProcess } from '../test/helpers/processes.ts';

export interface DemoNode {
  readonly name: string;
  readonly store: string;
  readonly process: RunningProcess;
}

const QUAYCTL = join(import.meta.dirname, '../bin/quayctl');

export function quayctl(home: string, args: readonly string[], ownHome: boolean): RunningProcess {
  const env = {
    ...process.env,
    // nothing that was stored or hashed before helps, and nothing of the demo stays
    XDG_CACHE_HOME: join(home, 'cache'),
    XDG_DATA_HOME: join(home, 'data'),
    QUAYCTL_STORE: join(home, 'store'),
    ...(ownHome ? { HOME: home, DOCKER_CONFIG: join(home, 'docker') } : {}),
  };
  return startProcess(process.execPath, [QUAYCTL, ...args], { env, cwd: process.cwd() });
}

/** The receipt once the pull has printed it. @throws with what the node said when it failed */
export async function receiptOf({ name, process: node }: DemoNode): Promise<Receipt> {
  const [line] = await node.waitFor(/^\{.*\}\s*$/m, 10 * 60_000).catch((error: unknown) => {
    throw new Error(`${name} failed: ${node.stderr() || String(error)}`);
  });
  const answer = JSON.parse(line) as Receipt & { error?: { message: string; hint?: string } };
  if (answer.error !== undefined) {
    throw new Error(`${name} failed: ${answer.error.message} ${answer.error.hint ?? ''}`);
  }
  return answer;
}

/** Bytes that a store really has on the disk, the written parts of sparse files only. */
export async function bytesOnDisk(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const blocks = files.map(async (file) => (await stat(file).catch(() => undefined))?.blocks ?? 0);
  return (await Promise.all(blocks)).reduce((sum, count) => sum + count * 512, 0);
}
