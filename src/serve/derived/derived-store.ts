import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { digestHex, parseDigest, type Digest } from '../../image/digest.ts';
import { object, parseJsonObject, text } from '../../image/json.ts';
import { writePrivateFile } from '../torrents/private-file.ts';

/** A derived image on disk. */
export interface DerivedFile {
  /** Of all of its bytes. */
  readonly digest: Digest;
  /** Bytes, > 0. */
  readonly length: number;
  /** What its recipe wants to be remembered. */
  readonly notes: Readonly<Record<string, string>>;
}

export interface CleaningLimits {
  /** Unused for longer, it goes; milliseconds. */
  readonly maxAgeMs: number;
  /** Of all derived images together; the least recently used go first. Undefined: a fifth of the file system. */
  readonly maxBytes?: number | undefined;
}

/** They can be made again at any time. */
const CLEANING: CleaningLimits = { maxAgeMs: 30 * 86_400_000 };
/** As the local store of a client has it. */
const SHARE_OF_DISK = 0.2;
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
      const { digest, length, notes } = parseRecord(await readFile(this.#record(key)));
      return (await this.lengthOf(digest)) === length ? { digest, length, notes } : undefined;
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

  /** Takes a finished file in, and clears the workplace. */
  async keep(key: string, path: string, file: DerivedFile): Promise<void> {
    await mkdir(join(this.#directory, 'files'), { recursive: true, mode: 0o700 });
    await rename(path, this.#file(file.digest));
    await writePrivateFile(this.#record(key), Buffer.from(JSON.stringify(file)));
    await rm(await this.workplace(key), { recursive: true, force: true });
  }

  /**
   * By age, then by size. What is being read goes on being read.
   * @param busy keys that are worked on
   */
  async clean(busy: ReadonlySet<string>, limits: CleaningLimits = CLEANING): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await this.#cleanWork(busy);
    const files = await listed(join(this.#directory, 'files'));
    const most = limits.maxBytes ?? (await this.#diskBytes()) * SHARE_OF_DISK;
    let bytes = 0;
    for (const { path, usedAt, size } of files.toSorted((one, other) => other.usedAt - one.usedAt)) {
      // One alone is kept, however large: it was made because somebody waits for it.
      const isTooMuch = bytes > 0 && bytes + size > most;
      if (isTooMuch || Date.now() - usedAt > limits.maxAgeMs) await rm(path, { force: true });
      else bytes += size;
    }
    for (const { path, name } of await listed(join(this.#directory, 'records'))) {
      if ((await this.find(name.replace(/\.json$/, ''))) === undefined) await rm(path, { force: true });
    }
  }

  async #cleanWork(busy: ReadonlySet<string>): Promise<void> {
    for (const { path, name, usedAt } of await listed(join(this.#directory, 'work'))) {
      if (busy.has(name) || Date.now() - usedAt < MAX_WORK_AGE_MS) continue;
      await rm(path, { recursive: true, force: true });
    }
  }

  async #diskBytes(): Promise<number> {
    const { blocks, bsize } = await statfs(this.#directory);
    return blocks * bsize;
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
