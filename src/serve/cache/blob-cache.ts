import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { digestFromHex, digestHex, type Digest } from '../../image/digest.ts';
import { BlobPass, type LocalBlob } from './blob-pass.ts';

const DEFAULT_MOST_BYTES = 20 * 2 ** 30;
const DEFAULT_SHARE_OF_DISK = 0.1;
/** Disk space that is left to everything else that writes there. Bytes. */
const KEPT_FREE_BYTES = 128 * 2 ** 20;
const READ_BYTES = 256 * 1024;

interface Entry {
  readonly size: number;
  /** Whether its bytes have its digest. What an earlier run of the service left is hashed when it is first asked for. */
  isRight: Promise<boolean> | undefined;
}

/**
 * Blobs that the service has read from its upstream, on its own disk, within a bound; those that were not used for longest
 * go first. Whole blobs lie in `cache/sha256/<hex>`, and those that are being read in `cache/reading`. Who may have a
 * blob is not decided here.
 */
export class BlobCache {
  readonly #directory: string;
  readonly #reading: string;
  readonly #limit: number;
  /** Least recently used first. */
  readonly #entries = new Map<Digest, Entry>();
  /** Bytes of entries, and of what is being read. */
  #used = 0;
  /** The files of blobs that are being read from the upstream. */
  readonly #paths = new Map<BlobPass, string>();

  private constructor(directory: string, limit: number) {
    this.#directory = join(directory, 'sha256');
    this.#reading = join(directory, 'reading');
    this.#limit = limit;
  }

  /**
   * @param limit bytes; undefined for a tenth of the disk, at most 20 GiB; 0 for no cache
   * @throws what the file system throws
   */
  static async open(dataDirectory: string, limit?: number): Promise<BlobCache> {
    const directory = join(dataDirectory, 'cache');
    await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
    const cache = new BlobCache(directory, limit ?? (await defaultLimit(dataDirectory)));
    await cache.#load();
    return cache;
  }

  /** One that keeps nothing. */
  static none(): BlobCache {
    return new BlobCache('', 0);
  }

  /** Whether a blob of so many bytes could be kept. */
  fits(size: number): boolean {
    return size <= this.#limit;
  }

  /** Bytes that are free on its disk; 0 where that cannot be told. */
  freeBytes(): Promise<number> {
    return this.#freeBytes().catch(() => 0);
  }

  /** Bytes with what is being read, and their bound; whole blobs. */
  get counts(): { readonly bytes: number; readonly limit: number; readonly blobs: number } {
    return { bytes: this.#used, limit: this.#limit, blobs: this.#entries.size };
  }

  has(digest: Digest): boolean {
    return this.#entries.has(digest);
  }

  /** A whole blob, or undefined where it is not here. */
  async find(digest: Digest): Promise<LocalBlob | undefined> {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    entry.isRight ??= this.#verify(digest);
    if (!(await entry.isRight)) return undefined;
    const path = this.#path(digest);
    try {
      const now = new Date();
      await utimes(path, now, now);
    } catch {
      return this.#forget(digest, entry);
    }
    if (this.#entries.delete(digest)) this.#entries.set(digest, entry);
    return {
      length: entry.size,
      read: async function* (start, end) {
        const stream = createReadStream(path, { start, end: end - 1, highWaterMark: READ_BYTES });
        yield* stream as AsyncIterable<Uint8Array>;
      },
    };
  }

  /**
   * Begins to take in a blob.
   * @returns undefined where there is no room for it
   */
  async begin(size: number): Promise<BlobPass | undefined> {
    if (!this.fits(size)) return undefined;
    this.#used += size;
    try {
      if (!(await this.#makeRoom(size))) return this.#giveBack(size);
      await mkdir(this.#reading, { recursive: true, mode: 0o700 });
      const path = join(this.#reading, randomUUID());
      const file = await open(path, 'wx+', 0o600);
      const pass = new BlobPass(file, size);
      this.#paths.set(pass, path);
      return pass;
    } catch {
      return this.#giveBack(size);
    }
  }

  /**
   * Ends what `begin` began.
   * @param digest that its bytes have been found to have; undefined where the reading broke off or the bytes are wrong
   */
  async end(pass: BlobPass, digest: Digest | undefined): Promise<void> {
    const path = this.#paths.get(pass);
    if (path === undefined) return;
    this.#paths.delete(pass);
    if (digest === undefined) await pass.fail();
    try {
      if (digest === undefined || this.has(digest) || !(await pass.succeed())) throw new Error('not kept');
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await rename(path, this.#path(digest));
      this.#entries.set(digest, { size: pass.length, isRight: Promise.resolve(true) });
    } catch {
      this.#giveBack(pass.length);
      await pass.fail();
      await rm(path, { force: true }).catch(ignore);
    }
  }

  /** Files that a crash left half written are removed; another process that still writes them keeps its open file. */
  async #load(): Promise<void> {
    await rm(this.#reading, { recursive: true, force: true }).catch(ignore);
    const found: { readonly digest: Digest; readonly size: number; readonly usedAt: number }[] = [];
    for (const name of await readdir(this.#directory).catch(() => [])) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      const { size, mtimeMs } = await stat(join(this.#directory, name));
      found.push({ digest: digestFromHex(name), size, usedAt: mtimeMs });
    }
    found.sort((a, b) => a.usedAt - b.usedAt);
    for (const { digest, size } of found) {
      this.#entries.set(digest, { size, isRight: undefined });
      this.#used += size;
    }
    while (this.#used > this.#limit && (await this.#evict()));
  }

  async #verify(digest: Digest): Promise<boolean> {
    const path = this.#path(digest);
    const hash = createHash('sha256');
    try {
      const stream = createReadStream(path, { highWaterMark: READ_BYTES });
      for await (const chunk of stream as AsyncIterable<Uint8Array>) hash.update(chunk);
      if (hash.digest('hex') === digestHex(digest)) return true;
    } catch {
      // It cannot be read, so it is as good as wrong.
    }
    this.#forget(digest);
    await rm(path, { force: true }).catch(ignore);
    return false;
  }

  /** @param size bytes, counted as used already */
  async #makeRoom(size: number): Promise<boolean> {
    while (this.#used > this.#limit || (await this.#freeBytes()) < size + KEPT_FREE_BYTES) {
      if (!(await this.#evict())) return false;
    }
    return true;
  }

  async #freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(join(this.#directory, '..', '..'));
    return bavail * bsize;
  }

  /** Readers of what is removed keep the open file. @returns whether there was anything to remove */
  async #evict(): Promise<boolean> {
    const [oldest] = this.#entries.keys();
    if (oldest === undefined) return false;
    this.#forget(oldest);
    await rm(this.#path(oldest), { force: true });
    return true;
  }

  #forget(digest: Digest, entry = this.#entries.get(digest)): undefined {
    if (entry === undefined || this.#entries.get(digest) !== entry) return undefined;
    this.#entries.delete(digest);
    return this.#giveBack(entry.size);
  }

  #giveBack(size: number): undefined {
    this.#used -= size;
    return undefined;
  }

  #path(digest: Digest): string {
    return join(this.#directory, digestHex(digest));
  }
}

async function defaultLimit(directory: string): Promise<number> {
  const { blocks, bsize } = await statfs(directory);
  return Math.min(DEFAULT_MOST_BYTES, Math.floor(blocks * bsize * DEFAULT_SHARE_OF_DISK));
}

function ignore(): void {
  // What could not be tidied up now is at the next start.
}
