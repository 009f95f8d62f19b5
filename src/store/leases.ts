import { randomUUID } from 'node:crypto';
import { open, readdir, rm, stat, utimes, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { digestFromHex, digestHex, type Digest } from '../image/digest.ts';
import { isAbsent, onDisk, readBounded, replacePrivateFile } from './disk.ts';
import { askKernel, parseOwner, type Owner } from './owner.ts';

/** How often the mtime of this process's lease file moves, for processes on other hosts that cannot ask its kernel. */
const HEARTBEAT_MS = 5_000;
/**
 * A process whose lease file does not change while another watches it for this long is taken for dead. This needs no
 * agreement of clocks between hosts.
 */
const SILENCE_MS = 30_000;
/**
 * After this long without a move, by this host's clock, a process's leases do not count, because a gc cannot watch for
 * so long. Its locks still do: of two containers on a machine that slept, the one that looks first must not take what
 * the other still holds.
 */
const LONG_SILENCE_MS = 10 * 60_000;
/** Leases that were not renewed for this long are removed, because no process sleeps that long and goes on. */
const FORSAKEN_MS = 7 * 86_400_000;
/** 60 bytes a blob: a node that seeds 100,000 of them. */
const MAX_LEASE_BYTES = 16 * 1024 * 1024;
const ID = /^[0-9a-f-]{36}$/;
const LINE = /^([+-])([0-9a-f]{64})$/;

/** The blobs that other processes hold: digests, or, where a file is too long to be read, everything. */
export interface Held {
  readonly digests: ReadonlySet<Digest>;
  readonly everything: boolean;
}

/**
 * The processes that use this store, and the blobs that they use: one file for each opened store in `quayctl/leases/`,
 * made when first needed. First line: the owner; then `+hex` and `-hex`. Locks point at these files.
 */
export class Leases {
  readonly id = randomUUID();
  readonly #directory: string;
  readonly #temporary: string;
  readonly #self: Owner;
  readonly #counts = new Map<Digest, number>();
  readonly #watched = new Map<string, { readonly mtimeMs: number; readonly since: number }>();
  #file: Promise<FileHandle> | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(directory: string, temporary: string, self: Owner) {
    this.#directory = directory;
    this.#temporary = temporary;
    this.#self = self;
  }

  /** From then on the owner's file exists: its id can be put into a lock. @throws QuayctlError `store`, `disk-full` */
  async announce(): Promise<void> {
    await this.#handle();
  }

  /** Counted: a digest held twice is let go of twice. @throws QuayctlError `store`, `disk-full` */
  async hold(digests: readonly Digest[]): Promise<void> {
    const fresh = digests.filter((digest) => this.#count(digest, 1) === 1);
    try {
      await this.#append('+', fresh);
    } catch (error) {
      for (const digest of digests) this.#count(digest, -1);
      throw error;
    }
  }

  async letGo(digests: readonly Digest[]): Promise<void> {
    const last = digests.filter((digest) => this.#count(digest, -1) === 0);
    // After the close nothing is held, and no file is to be made to say so.
    if (this.#file !== undefined) await this.#append('-', last);
  }

  /** What live owners hold, this one included; files of dead ones are removed. */
  async held(): Promise<Held> {
    const digests = new Set<Digest>();
    let everything = false;
    for (const id of await this.#owners()) {
      const silentMs = await this.#silence(id);
      if (!(await this.isAlive(id))) {
        await rm(join(this.#directory, id), { force: true });
        continue;
      }
      if (silentMs > LONG_SILENCE_MS) continue;
      const bytes = await readBounded(join(this.#directory, id), MAX_LEASE_BYTES);
      everything ||= bytes === undefined;
      for (const digest of parseLease(bytes)) digests.add(digest);
    }
    return { digests, everything };
  }

  /** Whether the process behind an owner's file lives. A process whose event loop is busy does. */
  async isAlive(id: string): Promise<boolean> {
    const file = await this.#read(id);
    if (file === undefined) return false;
    return file.verdict === 'unknown' ? this.#beats(id, file.mtimeMs) : file.verdict === 'alive';
  }

  /** Lets go of everything. */
  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    if (this.#file === undefined) return;
    const file = await this.#file.catch(() => undefined);
    this.#file = undefined;
    await this.#writing;
    await file?.close();
    await rm(join(this.#directory, this.id), { force: true }).catch(() => undefined);
  }

  async #read(
    id: string,
  ): Promise<{ readonly mtimeMs: number; readonly verdict: 'alive' | 'dead' | 'unknown' } | undefined> {
    if (id === this.id) return { mtimeMs: Date.now(), verdict: 'alive' };
    const path = join(this.#directory, basename(id));
    try {
      const { mtimeMs } = await stat(path);
      const bytes = await readBounded(path, MAX_LEASE_BYTES);
      const owner = parseOwner((bytes ?? Buffer.alloc(0)).toString('latin1').split('\n', 1)[0] ?? '');
      return { mtimeMs, verdict: owner === undefined ? 'unknown' : await askKernel(owner, this.#self) };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  #beats(id: string, mtimeMs: number): boolean {
    if (Date.now() - mtimeMs > FORSAKEN_MS) return false;
    const seen = this.#watched.get(id);
    if (seen?.mtimeMs === mtimeMs) return performance.now() - seen.since < SILENCE_MS;
    this.#watched.set(id, { mtimeMs, since: performance.now() });
    return true;
  }

  /** Milliseconds since the heartbeat of an owner that the kernel knows nothing about; 0 for one that it knows. */
  async #silence(id: string): Promise<number> {
    const file = await this.#read(id);
    if (file === undefined || file.verdict !== 'unknown') return 0;
    return Date.now() - file.mtimeMs;
  }

  async #owners(): Promise<string[]> {
    return (await readdir(this.#directory)).filter((name) => ID.test(name));
  }

  #count(digest: Digest, by: 1 | -1): number {
    const count = Math.max(0, (this.#counts.get(digest) ?? 0) + by);
    if (count === 0) this.#counts.delete(digest);
    else this.#counts.set(digest, count);
    return count;
  }

  #append(sign: '+' | '-', digests: readonly Digest[]): Promise<void> {
    if (digests.length === 0) return this.#writing;
    const text = digests.map((digest) => `${sign}${digestHex(digest)}\n`).join('');
    const written = this.#writing.then(async () => {
      const handle = await this.#handle();
      await onDisk('cannot write to the store', () => handle.appendFile(text));
    });
    this.#writing = written.catch(() => undefined);
    return written;
  }

  #handle(): Promise<FileHandle> {
    this.#file ??= onDisk('cannot write to the store', () => this.#create()).catch((error: unknown) => {
      // Of a full disk, say: the next one who asks may find space.
      this.#file = undefined;
      throw error;
    });
    return this.#file;
  }

  async #create(): Promise<FileHandle> {
    const path = join(this.#directory, this.id);
    await replacePrivateFile(this.#temporary, path, Buffer.from(`${JSON.stringify(this.#self)}\n`));
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => {
      const now = new Date();
      utimes(path, now, now).catch(() => undefined);
    }, HEARTBEAT_MS).unref();
    return open(path, 'a');
  }
}

/** A torn last line is ignored, as is all that is no line of ours. Exported for the tests of hostile files. */
export function parseLease(bytes: Buffer | undefined): Set<Digest> {
  const held = new Set<Digest>();
  const lines = (bytes ?? Buffer.alloc(0)).toString('latin1').split('\n');
  for (const line of lines.slice(1, -1)) {
    const [, sign, hex] = LINE.exec(line) ?? [];
    if (hex === undefined) continue;
    if (sign === '+') held.add(digestFromHex(hex));
    else held.delete(digestFromHex(hex));
  }
  return held;
}
