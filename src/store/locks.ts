import { readdir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { delay } from '../base/retry.ts';
import { isAbsent, onDisk } from './disk.ts';
import type { Leases } from './leases.ts';

const FIRST_POLL_MS = 2;
const LONGEST_POLL_MS = 200;

/** A lock that this process holds. */
export interface Lock {
  /** Idempotent. */
  release(): Promise<void>;
}

/** Once: later the same name may be another's lock. */
function releaseOnce(path: string): Lock {
  let released: Promise<void> | undefined;
  return { release: () => (released ??= rm(path, { force: true })) };
}

/** One link in `quayctl/locks/`: `NAME.GENERATION` -> id of the owner. */
interface Link {
  readonly generation: number;
  readonly owner: string;
}

/**
 * Locks between processes, on any file system that has symbolic links (making one is atomic, and its content comes
 * with it). The link of the highest generation is the lock. The lock of a dead owner is never removed and made again,
 * which two waiters could do to each other: it is superseded, by the next generation, which only one can make.
 */
export class Locks {
  readonly #directory: string;
  readonly #leases: Leases;

  constructor(directory: string, leases: Leases) {
    this.#directory = directory;
    this.#leases = leases;
  }

  /** Waits for it. @throws the signal's reason; QuayctlError `store`, `disk-full` */
  async acquire(name: string, signal: AbortSignal): Promise<Lock> {
    for (let pause = FIRST_POLL_MS; ; pause = Math.min(2 * pause, LONGEST_POLL_MS)) {
      signal.throwIfAborted();
      const lock = await this.tryAcquire(name);
      if (lock !== undefined) return lock;
      // Not all in step, else the same one wins every time.
      await delay(pause * (0.5 + Math.random()), signal);
    }
  }

  /** Undefined while a live process (or another caller in this one) holds it. @throws QuayctlError `store`, `disk-full` */
  tryAcquire(name: string): Promise<Lock | undefined> {
    return onDisk('cannot take a lock in the store', async () => {
      await this.#leases.announce();
      const before = await this.#links(name);
      const latest = before.at(-1);
      if (latest !== undefined && (await this.#leases.isAlive(latest.owner))) return undefined;
      const generation = (latest?.generation ?? 0) + 1;
      const path = this.#path(name, generation);
      if (!(await this.#link(path))) return undefined;
      if (!(await this.#isStillRight(name, generation, latest))) {
        await rm(path, { force: true });
        return undefined;
      }
      for (const { generation: older } of before) await rm(this.#path(name, older), { force: true });
      return releaseOnce(path);
    });
  }

  /** Names that anybody alive holds. */
  async held(): Promise<Set<string>> {
    const names = new Set<string>();
    for (const entry of await readdir(this.#directory)) {
      const name = entry.slice(0, entry.lastIndexOf('.'));
      const latest = (await this.#links(name)).at(-1);
      if (latest !== undefined && (await this.#leases.isAlive(latest.owner))) names.add(name);
    }
    return names;
  }

  /**
   * Between the look and the link others may have taken the lock, and let go of it: then the dead link below ours is
   * gone (a dead owner makes no new one), or there is one above ours.
   */
  async #isStillRight(name: string, generation: number, below: Link | undefined): Promise<boolean> {
    const links = await this.#links(name);
    if (links.at(-1)?.generation !== generation) return false;
    return below === undefined
      ? links.length === 1
      : links.some((link) => link.generation === below.generation && link.owner === below.owner);
  }

  async #link(path: string): Promise<boolean> {
    try {
      await symlink(this.#leases.id, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }

  /** Ascending. */
  async #links(name: string): Promise<Link[]> {
    const links: Link[] = [];
    for (const entry of await readdir(this.#directory)) {
      const generation = entry.startsWith(`${name}.`) ? Number(entry.slice(name.length + 1)) : NaN;
      if (!Number.isSafeInteger(generation)) continue;
      try {
        links.push({ generation, owner: await readlink(join(this.#directory, entry)) });
      } catch (error) {
        if (!isAbsent(error)) throw error;
      }
    }
    return links.sort((a, b) => a.generation - b.generation);
  }

  #path(name: string, generation: number): string {
    return join(this.#directory, `${name}.${generation}`);
  }
}
