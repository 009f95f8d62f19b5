import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, startProcess, type Scope } from './processes.ts';
import { programPath } from './programs.ts';
import { tempDirectory } from './temp.ts';

/** Settings and state of a machine, for programs that look for them at fixed places. */
export interface OwnEtc {
  /** A command that takes another one behind it, which then sees these. */
  readonly launcher: readonly string[];
  /** Writes a file as those programs see it. */
  write(path: string, text: string): Promise<void>;
  /** What was written there: below it `etc` and `lib`, as /etc and /var/lib are changed. */
  readonly changes: string;
}

/**
 * /etc and /var/lib over those of the machine, which are never touched: what is started by `launcher` shares them in a mount
 * namespace of its own. As root.
 */
export async function ownEtc(scope: Scope): Promise<OwnEtc> {
  const directory = await tempDirectory(scope, 'etc');
  const mounts: string[] = [];
  for (const [name, path] of Object.entries({ etc: '/etc', lib: '/var/lib' })) {
    const [upper, work] = [join(directory, name), join(directory, `${name}-work`)];
    for (const each of [upper, work]) await mkdir(each);
    mounts.push(`mount -t overlay overlay -o lowerdir=${path},upperdir=${upper},workdir=${work} ${path}`);
  }
  const script = `${mounts.join(' && ')} && echo ready && exec sleep infinity`;
  const holder = startProcess(programPath('unshare'), [
    ...['--mount', '--propagation', 'private'],
    ...['sh', '-c', script],
  ]);
  scope.after(async () => {
    await holder.kill('SIGKILL');
  });
  await holder.waitFor(/ready/);
  const [nsenter, ...enter] = [programPath('nsenter'), '--mount', '--target', String(holder.pid), '--'];
  return {
    launcher: [nsenter, ...enter],
    changes: directory,
    write: async (path, text) => {
      const command = ['sh', '-c', 'mkdir -p "$(dirname "$0")" && cat > "$0"', path];
      await mustRun(nsenter, [...enter, ...command], { input: text });
    },
  };
}
