import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { delay } from '../base/retry.ts';
import type { BlobOrigin } from '../blobs/blob-origin.ts';
import type { Downloads } from '../blobs/downloads.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestHex, shortDigest, type Digest } from '../image/digest.ts';
import type { Store } from '../store/store.ts';
import type { MirrorListener } from './mirror-context.ts';

/** The store is brought within its limit so long after a blob has come, so that one round does for an image. */
const AFTER_BLOB_MS = 5_000;
/** And as often as this: engines drop what was linked, and then it counts. */
const EVERY_MS = 10 * 60_000;
/** A store takes a fifth of the disk where nobody says otherwise, a mirror half of that; and at most so many bytes. */
const DEFAULT_SHARE = 0.5;
const DEFAULT_MOST_BYTES = 20 * 2 ** 30;
/** An engine commits a layer when it has read all of it; one that has not by then keeps none. */
const COMMITTED_WITHIN_MS = 5 * 60_000;
const LOOK_EVERY_MS = 1_000;

export interface CacheKeeperOptions {
  readonly store: Store;
  readonly downloads: Downloads;
  readonly listener: MirrorListener;
  /** `--cache-size`, bytes; undefined for the limit that the store has, else a tenth of the disk and at most 20 GiB. */
  readonly limit: number | undefined;
  /** Directories of engines that hold each blob under its digest in hex; `--adopt never` for none. */
  readonly contentStores: readonly string[];
}

/**
 * Bounds what the mirror takes of the disk: what was used longest ago goes first, and what an engine holds as well is one
 * file with it, which takes no place of its own.
 */
export class CacheKeeper {
  readonly #options: CacheKeeperOptions;
  /** Content stores on another mount, or that this user may not link to: looked at once. */
  readonly #unlinkable = new Set<string>();
  #due: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  readonly #signal: AbortSignal;

  constructor(options: CacheKeeperOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    const regular = setInterval(() => this.keep(), EVERY_MS);
    signal.addEventListener('abort', () => {
      clearInterval(regular);
      clearTimeout(this.#due);
    });
  }

  /** A blob has come into the store, for an engine that reads it. */
  stored(blob: Descriptor, origin: BlobOrigin): void {
    this.#due ??= setTimeout(() => {
      this.#due = undefined;
      this.keep();
    }, AFTER_BLOB_MS);
    const { listener } = this.#options;
    this.#adopt(blob, origin).catch((error: unknown) => {
      if (!this.#signal.aborted) listener({ kind: 'warning', message: messageOf(error) });
    });
  }

  /** Brings the store within its limit; one round after the other. */
  keep(): void {
    this.#round = this.#round
      .then(() => this.#collect())
      .catch((error: unknown) => {
        this.#options.listener({ kind: 'warning', message: `cannot clear the store: ${messageOf(error)}` });
      });
  }

  async #collect(): Promise<void> {
    const { store, limit: given, listener } = this.#options;
    if (this.#signal.aborted) return;
    await store.settle();
    const { blobs, partials, limit: own, isLimitSet } = await store.usage();
    const limit = given ?? (isLimitSet ? own : Math.min(own * DEFAULT_SHARE, DEFAULT_MOST_BYTES));
    const excess = blobs + partials - limit;
    if (excess <= 0) return;
    await this.#letGo(excess);
    const { freed, left } = await store.gc(limit);
    listener({ kind: 'debug', message: `store: ${freed} bytes were freed, ${left} are left of ${limit}` });
  }

  /** What is given to others is held open: of the images that were used longest ago it no longer is. */
  async #letGo(bytes: number): Promise<void> {
    const { store, downloads } = this.#options;
    const images = await store.listImages();
    images.sort((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime());
    const held = await Promise.all(images.map((image) => store.heldBlobs(image)));
    const users = new Map<Digest, number>();
    for (const { digest } of held.flat()) users.set(digest, (users.get(digest) ?? 0) + 1);
    let freed = 0;
    for (const blobs of held) {
      if (freed >= bytes) return;
      for (const { digest, size } of blobs) {
        const left = (users.get(digest) ?? 1) - 1;
        users.set(digest, left);
        if (left > 0 || downloads.find(digest) !== undefined) continue;
        await downloads.seeds.drop(digest);
        freed += size;
      }
    }
  }

  /** Waits until an engine has committed the blob, and makes its file ours. */
  async #adopt(blob: Descriptor, origin: BlobOrigin): Promise<void> {
    const until = performance.now() + COMMITTED_WITHIN_MS;
    while (performance.now() < until) {
      const directories = this.#options.contentStores.filter((each) => !this.#unlinkable.has(each));
      if (directories.length === 0) return;
      for (const directory of directories) {
        const path = join(directory, digestHex(blob.digest));
        const found = await stat(path).catch(() => undefined);
        if (found?.isFile() === true && found.size === blob.size)
          return this.#link(blob, origin, directory, path);
      }
      await delay(LOOK_EVERY_MS, this.#signal);
    }
  }

  async #link(blob: Descriptor, origin: BlobOrigin, directory: string, path: string): Promise<void> {
    const { store, downloads, listener } = this.#options;
    try {
      if (!(await store.linkTo(blob.digest, path, this.#signal))) return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EACCES' && code !== 'EMLINK') throw error;
      this.#unlinkable.add(directory);
      const message = `blobs of ${directory} cannot be linked to (${code}): copies are kept within --cache-size`;
      return listener({ kind: 'debug', message });
    }
    listener({ kind: 'debug', message: `${shortDigest(blob.digest)}: one file with the engine's` });
    if (!downloads.seeds.has(blob.digest)) return;
    // The old file takes its place for as long as it is open.
    await downloads.seeds.drop(blob.digest);
    await downloads.seeds.seed(blob, origin, this.#signal);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
