import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { digestFromHex, digestHex, type Digest } from '../image/digest.ts';
import { formatReference } from '../image/reference.ts';
import type { BlobFiles, StoredBlob } from './blob-files.ts';
import type { StoreIndex, StoredImage } from './store-index.ts';
import { onDisk, readBounded, replacePrivateFile } from './disk.ts';
import type { Leases } from './leases.ts';
import type { Locks } from './locks.ts';
import type { NamedImage } from './index-file.ts';
import type { StorePaths } from './paths.ts';

/**
 * The part of the disk that the store may fill unless the user sets a limit; beyond it images that were used longest
 * ago are removed.
 */
const DEFAULT_SHARE = 0.2;
/**
 * Bytes of an interrupted pull are kept this long for its next run. After that they are removed before any image is.
 */
const STALE_MS = 7 * 86_400_000;
/** A draft of a process that was killed. */
const OLD_DRAFT_MS = 86_400_000;
const MAX_LIMIT_BYTES = 32;
const PARTIAL = /^[0-9a-f]{64}$/;

/** What goes, in the order in which it was chosen. `bytes`: what that frees. */
export interface Removal {
  readonly kind: 'image' | 'blob' | 'partial';
  readonly digest: Digest;
  /** Of an image. */
  readonly name?: string;
  readonly bytes: number;
}

export interface GcResult {
  /** Bytes. */
  readonly freed: number;
  /** Bytes that the store takes now; more than the limit where what is left is in use. */
  readonly left: number;
  readonly removed: readonly Removal[];
}

export interface Usage {
  /** Bytes of whole blobs, but for those that have another name elsewhere. */
  readonly blobs: number;
  /** Bytes that partial blobs take on the disk. */
  readonly partials: number;
  readonly limit: number;
  /** Somebody has set it; else it is a part of the disk. */
  readonly isLimitSet: boolean;
}

interface Parts {
  readonly paths: StorePaths;
  readonly blobs: BlobFiles;
  readonly storeIndex: StoreIndex;
  readonly leases: Leases;
  readonly locks: Locks;
  /** Deletions are between others' leases and records, never beside them. */
  readonly underIndexLock: <T>(work: () => Promise<T>) => Promise<T>;
}

interface PartialEntry {
  readonly digest: Digest;
  readonly bytes: number;
  readonly lastUsed: Date;
}

/** Keeps the store within its limit. */
export class Collector {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Bytes: what was remembered, else a fifth of the file system. */
  async limit(): Promise<number> {
    return (await this.#limit()).limit;
  }

  async #limit(): Promise<Pick<Usage, 'limit' | 'isLimitSet'>> {
    const text =
      (await readBounded(this.#parts.paths.limit, MAX_LIMIT_BYTES))?.toString('latin1').trim() ?? '';
    if (/^\d{1,15}$/.test(text)) return { limit: Number(text), isLimitSet: true };
    const { blocks, bsize } = await onDisk('cannot measure the file system', () =>
      statfs(this.#parts.paths.root),
    );
    return { limit: Math.floor(blocks * bsize * DEFAULT_SHARE), isLimitSet: false };
  }

  async remember(limit: number): Promise<void> {
    const { paths } = this.#parts;
    await onDisk('cannot write to the store', () =>
      replacePrivateFile(paths.own('tmp'), paths.limit, Buffer.from(`${Math.floor(limit)}\n`)),
    );
  }

  async usage(): Promise<Usage> {
    const blobs = (await this.#parts.blobs.list()).reduce((sum, blob) => sum + placeOf(blob), 0);
    const partials = (await this.#partials()).reduce((sum, { bytes }) => sum + bytes, 0);
    return { blobs, partials, ...(await this.#limit()) };
  }

  /**
   * Down to the limit: first what has lain about unfinished for a week, then images, least recently used first, then
   * blobs without an image, then partial blobs. Nothing that a live process holds, nothing that this opened store
   * leases, committed or recorded: the gc at the end of a pull does not take away what was pulled.
   * @param dryRun nothing is removed, the result says what would be
   */
  async collect(limit: number, dryRun = false): Promise<GcResult> {
    if (!dryRun) await this.#sweepDrafts();
    const before = await this.#total();
    let left = before;
    const removed: Removal[] = [];
    const steps = [
      () => this.#dropOrphans(left - limit, STALE_MS, dryRun),
      () => this.#dropPartials(left - limit, STALE_MS, dryRun),
      () => this.#dropImages(left - limit, dryRun),
      () => this.#dropOrphans(left - limit, 0, dryRun),
      () => this.#dropPartials(left - limit, 0, dryRun),
    ];
    for (const step of steps) {
      if (left <= limit) break;
      const chosen = (await step()).filter(({ digest, kind }) => !isAmong(removed, digest, kind));
      removed.push(...chosen);
      left = dryRun ? left - chosen.reduce((sum, { bytes }) => sum + bytes, 0) : await this.#total();
    }
    return { freed: Math.max(0, before - left), left, removed };
  }

  /** Removes those of the blobs that no image leads to and no process uses. Called under the lock of the index. */
  async dropUnused(digests: Iterable<Digest>): Promise<void> {
    const { locks, storeIndex, blobs, paths, leases } = this.#parts;
    const { digests: leased, everything } = await leases.held();
    if (everything) return;
    const locked = await locks.held();
    const referenced = await storeIndex.referenced();
    for (const digest of digests) {
      if (leased.has(digest) || locked.has(digestHex(digest)) || referenced.has(digest)) continue;
      await blobs.remove(digest);
      await rm(paths.own('torrents', digestHex(digest)), { force: true });
    }
  }

  /** The least recently used images that together free `bytes`, counting only blobs that no other image has. */
  async #dropImages(bytes: number, dryRun: boolean): Promise<Removal[]> {
    const { storeIndex, leases, underIndexLock } = this.#parts;
    const { digests: leased, everything } = await leases.held();
    if (everything) return [];
    const images = await storeIndex.list();
    images.sort((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime());
    const reaches = new Map<StoredImage, ReadonlySet<Digest>>();
    for (const image of images) reaches.set(image, await storeIndex.reach(image.digest, image.index));
    const users = new Map<Digest, number>();
    for (const digest of [...reaches.values()].flatMap((reach) => [...reach])) {
      users.set(digest, (users.get(digest) ?? 0) + 1);
    }
    const shared = new Set([...users].flatMap(([digest, count]) => (count > 1 ? [digest] : [])));
    const sizes = new Map((await this.#parts.blobs.list()).map((blob) => [blob.digest, placeOf(blob)]));
    const removals: Removal[] = [];
    const names = new Set<string>();
    const victims = new Set<Digest>();
    let freed = 0;
    for (const [image, reach] of reaches) {
      if (freed >= bytes) break;
      if (isInUse(image, reach, leased, shared)) continue;
      const name = formatReference(image.reference);
      names.add(imageKey(name, image.digest));
      const before = freed;
      for (const digest of reach) {
        const left = (users.get(digest) ?? 0) - 1;
        users.set(digest, left);
        victims.add(digest);
        if (left === 0 && !leased.has(digest)) freed += sizes.get(digest) ?? 0;
      }
      removals.push({ kind: 'image', name, digest: image.digest, bytes: freed - before });
    }
    if (dryRun) return removals;
    await underIndexLock(async () => {
      // Somebody may have begun to use one since it was looked at.
      const { digests: now } = await leases.held();
      const isVictim = ({ name, descriptor }: NamedImage): boolean =>
        names.has(imageKey(name, descriptor.digest)) && !now.has(descriptor.digest);
      await storeIndex.forget(isVictim);
      await this.dropUnused(victims);
    });
    return removals;
  }

  async #dropOrphans(bytes: number, age: number, dryRun: boolean): Promise<Removal[]> {
    const { storeIndex, blobs, leases, locks, underIndexLock } = this.#parts;
    const { digests: leased, everything } = await leases.held();
    if (everything) return [];
    const locked = await locks.held();
    const referenced = await storeIndex.referenced();
    const orphans = (await blobs.list()).filter(
      ({ digest, lastUsed }) =>
        !referenced.has(digest) &&
        !leased.has(digest) &&
        !locked.has(digestHex(digest)) &&
        isOlder(lastUsed, age),
    );
    const victims = oldestFirst(orphans, placeOf, bytes);
    if (victims.length > 0 && !dryRun)
      await underIndexLock(() => this.dropUnused(victims.map(({ digest }) => digest)));
    return victims.map((blob) => ({ kind: 'blob', digest: blob.digest, bytes: placeOf(blob) }));
  }

  async #dropPartials(bytes: number, age: number, dryRun: boolean): Promise<Removal[]> {
    const { paths, locks, leases } = this.#parts;
    const { digests: leased, everything } = await leases.held();
    if (everything) return [];
    const locked = await locks.held();
    const old = (await this.#partials()).filter(
      ({ digest, lastUsed }) =>
        isOlder(lastUsed, age) && !leased.has(digest) && !locked.has(digestHex(digest)),
    );
    const removals: Removal[] = [];
    for (const partial of oldestFirst(old, (each) => each.bytes, bytes)) {
      const { digest } = partial;
      // Nobody else may write it while it goes; a process may have begun since the locks were listed.
      const lock = dryRun ? undefined : await locks.tryAcquire(digestHex(digest));
      if (lock === undefined && !dryRun) continue;
      removals.push({ kind: 'partial', digest, bytes: partial.bytes });
      if (lock === undefined) continue;
      try {
        await rm(paths.partial(digest), { force: true });
        await rm(paths.journal(digest), { force: true });
      } finally {
        await lock.release();
      }
    }
    return removals;
  }

  async #partials(): Promise<PartialEntry[]> {
    const { paths } = this.#parts;
    const found: PartialEntry[] = [];
    for (const name of await onDisk('cannot read the store', () => readdir(paths.own('partial')))) {
      if (!PARTIAL.test(name)) continue;
      const entry = await stat(paths.own('partial', name)).catch(() => undefined);
      if (entry === undefined) continue;
      // Sparse: stat(2) counts blocks of 512 bytes.
      found.push({ digest: digestFromHex(name), bytes: entry.blocks * 512, lastUsed: entry.mtime });
    }
    return found;
  }

  async #sweepDrafts(): Promise<void> {
    const folder = this.#parts.paths.own('tmp');
    for (const name of await readdir(folder).catch(() => [])) {
      const entry = await stat(`${folder}/${name}`).catch(() => undefined);
      if (entry !== undefined && isOlder(entry.mtime, OLD_DRAFT_MS))
        await rm(`${folder}/${name}`, { force: true });
    }
  }

  async #total(): Promise<number> {
    const { blobs, partials } = await this.usage();
    return blobs + partials;
  }
}

/** What its removal would free, bytes. */
function placeOf({ size, isLinked }: StoredBlob): number {
  return isLinked ? 0 : size;
}

/** The least recently used ones that together have `bytes`. */
function oldestFirst<T extends { readonly lastUsed: Date }>(
  entries: readonly T[],
  sizeOf: (entry: T) => number,
  bytes: number,
): T[] {
  let sum = 0;
  return entries
    .toSorted((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime())
    .filter((entry) => {
      const wanted = sum < bytes;
      sum += sizeOf(entry);
      return wanted;
    });
}

/**
 * Whether an image must stay: it was recorded by somebody who is still at work, all of its config and layers are in use,
 * or one that no other image has. An image that only shares a base layer with one in use can go; the layer itself stays.
 * @param shared what more than one image of the store has
 */
function isInUse(
  { digest, index }: StoredImage,
  reach: ReadonlySet<Digest>,
  leased: ReadonlySet<Digest>,
  shared: ReadonlySet<Digest>,
): boolean {
  if (leased.has(digest)) return true;
  const blobs = [...reach].filter((each) => each !== digest && each !== index);
  const used = blobs.filter((each) => leased.has(each));
  return used.length > 0 && (used.length === blobs.length || used.some((each) => !shared.has(each)));
}

/** A blob of an image that went, in a dry run, is an orphan that was counted already. */
function isAmong(removed: readonly Removal[], digest: Digest, kind: Removal['kind']): boolean {
  return removed.some((each) => each.digest === digest && each.kind === kind);
}

function imageKey(name: string, digest: Digest): string {
  return `${name} ${digest}`;
}

function isOlder(time: Date, age: number): boolean {
  return Date.now() - time.getTime() >= age;
}
