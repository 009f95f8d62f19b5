import { readFileSync } from 'node:fs';
import type { RunningProcess } from './processes.ts';

const WATCH_MS = 20;

/** The most that it ever held in memory, bytes (proc(5), VmHWM). */
export async function watchMemory({ pid, exited }: RunningProcess): Promise<number> {
  let peak = 0;
  const look = setInterval(() => {
    try {
      const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
      peak = Math.max(peak, Number(kib ?? 0) * 1024);
    } catch {
      // It has ended.
    }
  }, WATCH_MS);
  await exited;
  clearInterval(look);
  return peak;
}
