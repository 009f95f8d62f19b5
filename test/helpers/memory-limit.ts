import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';

/** Where the kernel keeps memory limits: control groups of version 2, else of version 1. */
const HIERARCHIES = [
  { root: '/sys/fs/cgroup', file: 'memory.max', members: 'cgroup.procs', sign: 'cgroup.controllers' },
  { root: '/sys/fs/cgroup/memory', file: 'memory.limit_in_bytes', members: 'cgroup.procs', sign: 'tasks' },
] as const;

export interface MemoryLimit {
  readonly launcher: readonly string[];
  /** Once what was started has ended. */
  readonly remove: () => Promise<void>;
}

/**
 * A command that starts another one under a limit of memory, as `MemoryMax=` of a systemd unit does: the kernel ends what
 * needs more. As root.
 * @returns undefined where this machine lets nobody make control groups
 */
export async function memoryLimit(bytes: number): Promise<MemoryLimit | undefined> {
  for (const { root, file, members, sign } of HIERARCHIES) {
    const group = join(root, `qsrv-${randomUUID()}`);
    try {
      await readFile(join(root, sign));
      await mkdir(group);
      await writeFile(join(group, file), String(bytes));
      const enter = `echo $$ > '${join(group, members)}' && exec "$@"`;
      return { launcher: ['/bin/sh', '-c', enter, 'sh'], remove: () => rmdir(group) };
    } catch {
      // The next one.
    }
  }
  return undefined;
}

/** The most that a process has had in memory, bytes. */
export async function peakMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
