import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { QuayctlError } from '../../base/errors.ts';
import { formatBytes } from '../../base/units.ts';
import { digestHex, parseDigest, type Digest } from '../../image/digest.ts';
import { object, parseJsonObject, text } from '../../image/json.ts';
import { writePrivateFile } from '../torrents/private-file.ts';

/** A derived image on disk. */
export interface DerivedFile {
  /** The digest of all of its bytes. */
  readonly digest: Digest;
  /** Bytes, > 0. */
  readonly length: number;
  /** When it was made. Its file's own time is that of its last use. */
  readonly modified: Date;
  /** What its recipe wants to be remembered. */
  readonly notes: Readonly<Record<string, string>>;
}

export interface CleaningLimits {
  /** Unused for longer, it goes; milliseconds. */
  readonly maxAgeMs: number;
  /** The size of all derived images together; the least recently used go first. Undefined: a fifth of the file system. */
  readonly maxBytes?: number | undefined;
}

/** Derived images that were not asked for during this time are removed. They can be made again. */
const CLEANING: CleaningLimits = { maxAgeMs: 30 * 86_400_000 };
/** The part of the disk that derived images may fill. */
const SHARE_OF_DISK = 0.2;
/** The part of the disk that derived images leave free for what the service itself writes; 1 GB at most. */
const RESERVE_OF_DISK = 0.05;
const MAX_RESERVE = 1_000_000_000;
/** Layers of work that was broken off and that nobody has taken up since. */
const MAX_WORK_AGE_MS = 86_400_000;
/** A signature and an image ID are some KiB. */
const MAX_RECORD_BYTES = 64 * 1024;

/**
 * Derived images on disk: `derived/files/<hex>`, what they were made of in `derived/records/<key>.json`, and work that
 * is not done in `derived/work/<key>/`. What is not whole counts as absent. A file's time is that of its last use.
 */
export class DerivedStore {
  readonly #directory: string;

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, 'derived');
  }

  /** @param inputs all that the bytes depend on */
  static key(inputs: readonly string[]): string {
    return createHash('sha256').update(JSON.stringify(inputs)).digest('hex');
  }

  async find(key: string): Promise<DerivedFile | undefined> {
    try {
      const file = parseRecord(await readFile(this.#record(key)));
      return (await this.lengthOf(file.digest)) === file.length ? file : undefined;
    } catch {
      return undefined;
    }
  }

  /** Bytes of a derived image, by its own digest; counts as a use. */
  async lengthOf(digest: Digest): Promise<number | undefined> {
    try {
      const path = this.#file(digest);
      const { size } = await stat(path);
      const now = new Date();
      await utimes(path, now, now);
      return size;
    } catch {
      return undefined;
    }
  }

  /** @param end exclusive */
  read(digest: Digest, start: number, end: number): Readable {
    return createReadStream(this.#file(digest), { start, end: end - 1 });
  }

  /** The place for work on `key`, with what is left of earlier work on it. */
  async workplace(key: string): Promise<string> {
    const path = join(this.#directory, 'work', key);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** Removes what there is of work that nobody takes up again. */
  async discardWork(key: string): Promise<void> {
    await rm(join(this.#directory, 'work', key), { recursive: true, force: true });
  }

  /**
   * Room for new work, so that a full disk is noticed before anything is fetched, and keeps its reserve for what the
   * service needs itself: piece hashes, keys.
   * @param bytes that the work will take
   * @param busy keys that are worked on
   * @throws QuayctlError `disk-full`
   */
  async ensureRoom(bytes: number, busy: ReadonlySet<string>): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    if (await this.#hasRoom(bytes)) return;
    await this.clean(busy);
    if (await this.#hasRoom(bytes)) return;
    throw new QuayctlError('disk-full', `no room to make a derived image of ${formatBytes(bytes)}`, {
      hint: 'the operator of the service gives --data a larger disk',
    });
  }

  async #hasRoom(bytes: number): Promise<boolean> {
    const disk = await this.#disk();
    return disk.free - bytes >= Math.min(MAX_RESERVE, disk.bytes * RESERVE_OF_DISK);
  }

  /** Takes a finished file in, and clears the workplace. */
  async keep(key: string, path: string, file: DerivedFile): Promise<void> {
    await mkdir(join(this.#directory, 'files'), { recursive: true, mode: 0o700 });
    await rename(path, this.#file(file.digest));
    await writePrivateFile(this.#record(key), Buffer.from(JSON.stringify(file)));
    await rm(await this.workplace(key), { recursive: true, force: true });
  }

  /**
   * By age, then by size, the least recently used first; work that was broken off counts, too. What is being read goes
   * on being read.
   * @param busy keys that are worked on
   */
  async clean(busy: ReadonlySet<string>, limits: CleaningLimits = CLEANING): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const { running, idle } = await this.#work(busy);
    const files = await listed(join(this.#directory, 'files'));
    const most = limits.maxBytes ?? (await this.#disk()).bytes * SHARE_OF_DISK;
    let bytes = running;
    const candidates = [
      ...files.map((file) => ({ ...file, maxAgeMs: limits.maxAgeMs })),
      ...idle.map((work) => ({ ...work, maxAgeMs: MAX_WORK_AGE_MS })),
    ];
    for (const { path, usedAt, size, maxAgeMs } of candidates.toSorted(
      (one, other) => other.usedAt - one.usedAt,
    )) {
      // One alone is kept, however large: it was made because somebody waits for it.
      const isTooMuch = bytes > 0 && bytes + size > most;
      if (isTooMuch || Date.now() - usedAt > maxAgeMs) await rm(path, { recursive: true, force: true });
      else bytes += size;
    }
    for (const { path, name } of await listed(join(this.#directory, 'records'))) {
      if ((await this.find(name.replace(/\.json$/, ''))) === undefined) await rm(path, { force: true });
    }
  }

  /** Bytes of work that is done now, and the workplaces of work that was broken off. */
  async #work(busy: ReadonlySet<string>): Promise<{ running: number; idle: readonly Listed[] }> {
    const idle: Listed[] = [];
    let running = 0;
    for (const { path, name, usedAt } of await listed(join(this.#directory, 'work'))) {
      const files = await listed(path);
      const size = files.reduce((sum, file) => sum + file.size, 0);
      if (busy.has(name)) running += size;
      else idle.push({ path, name, usedAt: Math.max(usedAt, ...files.map((file) => file.usedAt)), size });
    }
    return { running, idle };
  }

  async #disk(): Promise<{ readonly bytes: number; readonly free: number }> {
    const { blocks, bavail, bsize } = await statfs(this.#directory);
    return { bytes: blocks * bsize, free: bavail * bsize };
  }

  #file(digest: Digest): string {
    return join(this.#directory, 'files', digestHex(digest));
  }

  #record(key: string): string {
    return join(this.#directory, 'records', `${key}.json`);
  }
}

function parseRecord(bytes: Uint8Array): DerivedFile {
  const json = parseJsonObject(bytes, 'record of a derived image', MAX_RECORD_BYTES);
  const notes = Object.entries(object(json['notes'], 'notes')).map(([key, value]) => [key, String(value)]);
  return {
    digest: parseDigest(text(json['digest'], 'digest', 100)),
    length: Number(json['length']),
    modified: new Date(Date.parse(String(json['modified'])) || 0),
    notes: Object.fromEntries(notes) as Record<string, string>,
  };
}

interface Listed {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly usedAt: number;
}

/** What another process removes meanwhile is left out. */
async function listed(directory: string): Promise<Listed[]> {
  const names = await readdir(directory).catch(() => []);
  const all = names.map(async (name) => {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    return found === undefined ? [] : [{ name, path, size: found.size, usedAt: found.mtimeMs }];
  });
  return (await Promise.all(all)).flat();
}
