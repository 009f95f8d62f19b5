import { readFile, readlink, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isAbsent } from './disk.ts';

/** The process that holds a lock or a lease: enough to tell, on the same host, whether that very process still runs. */
export interface Owner {
  readonly pid: number;
  /** Clock ticks since the boot (proc(5), stat field 22): a pid used again is another process. */
  readonly startTime: string;
  readonly bootId: string;
  readonly hostname: string;
  readonly pidNamespace: string;
  readonly uid: number;
}

/** Empty fields where there is no /proc; such an owner is judged by its heartbeat. */
export async function thisProcess(): Promise<Owner> {
  const [status, bootId, pidNamespace, uid] = await Promise.all([
    readFile('/proc/self/stat', 'latin1').catch(() => ''),
    readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => ''),
    readlink('/proc/self/ns/pid').catch(() => ''),
    stat('/proc/self').then(
      (entry) => entry.uid,
      () => -1,
    ),
  ]);
  const { pid, startTime } = parseStat(status);
  return { pid, startTime, bootId: bootId.trim(), hostname: hostname(), pidNamespace, uid };
}

/** Undefined for anything that is no record of ours. */
export function parseOwner(text: string): Owner | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof Owner, unknown>> | null;
    const { pid, startTime, bootId, hostname: host, pidNamespace, uid } = value ?? {};
    if (!Number.isSafeInteger(pid) || !Number.isSafeInteger(uid)) return undefined;
    if (![startTime, bootId, host, pidNamespace].every((field) => typeof field === 'string'))
      return undefined;
    return value as Owner;
  } catch {
    return undefined;
  }
}

/**
 * Whether the kernel can be asked about it, and what it says. `unknown`: another host, another pid namespace, no
 * /proc, or a /proc that hides other users' processes (hidepid).
 */
export async function askKernel(owner: Owner, self: Owner): Promise<'alive' | 'dead' | 'unknown'> {
  if (owner.pid <= 0 || self.pid <= 0 || self.bootId === '' || self.pidNamespace === '') return 'unknown';
  if (owner.bootId !== self.bootId || owner.pidNamespace !== self.pidNamespace) return 'unknown';
  try {
    const { state, startTime } = parseStat(await readFile(`/proc/${owner.pid}/stat`, 'latin1'));
    // A zombie has let go of everything, its parent has only not noticed.
    return startTime === owner.startTime && state !== 'Z' && state !== 'X' ? 'alive' : 'dead';
  } catch (error) {
    const gone = isAbsent(error) || (error as NodeJS.ErrnoException).code === 'ESRCH';
    return gone && (self.uid === 0 || self.uid === owner.uid) ? 'dead' : 'unknown';
  }
}

/** proc(5): the second field is a name in parentheses that may hold anything. */
function parseStat(text: string): { pid: number; state: string; startTime: string } {
  const after = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { pid: Number.parseInt(text, 10) || 0, state: after[0] ?? '', startTime: after[19] ?? '' };
}
