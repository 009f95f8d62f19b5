import { randomInt } from 'node:crypto';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Scope } from './processes.ts';
import { programPath } from './programs.ts';
import { tempDirectory } from './temp.ts';

/**
 * Names that lead where a test wants them: lines in the hosts file as the programs see it that are started by
 * `launcher`. That file is put over /etc/hosts in their mount namespace alone, so the machine's own is never touched,
 * and two runs do not see each other's names. As root.
 */
export async function hostsLauncher(
  scope: Scope,
  addresses: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const directory = await tempDirectory(scope, 'hosts');
  const [hosts, enter] = [join(directory, 'hosts'), join(directory, 'enter')];
  const lines = Object.entries(addresses).map(([name, address]) => `${address} ${name}`);
  await writeFile(hosts, `${await readFile('/etc/hosts', 'utf8')}\n${lines.join('\n')}\n`);
  await writeFile(enter, `#!/bin/sh\nmount --bind '${hosts}' /etc/hosts && exec "$@"\n`);
  await chmod(enter, 0o755);
  return [programPath('unshare'), '--mount', '--propagation', 'private', enter];
}

/** A loopback address that nobody else will listen on. */
export function someLoopback(): string {
  return `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`;
}
