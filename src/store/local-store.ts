import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, rename, rm, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestHex, shortDigest, type Digest } from '../image/digest.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import { formatReference, type ImageReference } from '../image/reference.ts';
import { BlobFiles } from './blob-files.ts';
import type { BlobReader, OpenOptions, PartialBlob } from './blob-store.ts';
import { answersTo, StoreIndex, type StoredImage } from './store-index.ts';
import { fingerprint, watchChanges } from './changes.ts';
import { onDisk } from './disk.ts';
import { Collector, type GcResult, type Usage } from './gc.ts';
import type { Leases } from './leases.ts';
import { Locks, type Lock } from './locks.ts';
import { openPartialFile } from './partial-file.ts';
import type { StorePaths } from './paths.ts';
import { RememberedFacts } from './remembered-facts.ts';
import { withReserve } from './reserve.ts';
import { assertRoom } from './room.ts';
import type { Lease, Store } from './store.ts';

/** The lock under which images are recorded and removed, leases taken, blobs collected. */
const INDEX_LOCK = 'index';
/**
 * The longest wait for another process that changes the index. Most changes take milliseconds, a large gc seconds; a
 * process that is stopped holds the lock for ever.
 */
const INDEX_PATIENCE_MS = 120_000;

/** The store in a directory of this machine. */
export class LocalStore extends RememberedFacts implements Store {
  readonly path: string;
  readonly hostsWithoutTorrents = {
    isSilent: (host: string) => this.isSilent(host),
    remember: (host: string) => this.rememberSilent(host),
  };
  readonly #paths: StorePaths;
  readonly #blobs: BlobFiles;
  readonly #leases: Leases;
  readonly #locks: Locks;
  readonly #storeIndex: StoreIndex;
  readonly #collector: Collector;
  #listed: string | undefined;
  /** Leases of what was committed and recorded here. */
  #kept: Digest[] = [];

  constructor(paths: StorePaths, leases: Leases) {
    super(paths);
    this.path = paths.root;
    this.#paths = paths;
    this.#leases = leases;
    this.#blobs = new BlobFiles(paths);
    this.#locks = new Locks(paths.own('locks'), leases);
    this.#storeIndex = new StoreIndex(paths, this.#blobs);
    this.#collector = new Collector({
      paths,
      leases,
      blobs: this.#blobs,
      locks: this.#locks,
      storeIndex: this.#storeIndex,
      underIndexLock: (work) => this.#underIndexLock(work),
    });
  }

  async stat(digest: Digest): Promise<number | undefined> {
    const blob = await this.#blobs.find(digest);
    if (blob === undefined) return undefined;
    if (!(await this.#blobs.isBelieved(blob))) {
      await this.#blobs.remove(digest);
      return undefined;
    }
    await this.#blobs.use(blob);
    return blob.size;
  }

  async open(digest: Digest, { yields = false }: OpenOptions = {}): Promise<BlobReader> {
    // The open file outlives a removal; the lease keeps others from removing what would free nothing.
    const lease = yields ? undefined : await this.#quietLease(digest);
    try {
      await this.stat(digest);
      const reader = await this.#blobs.open(digest);
      return {
        size: reader.size,
        read: (offset, length, into) => reader.read(offset, length, into),
        close: async () => {
          await reader.close();
          await lease?.close();
        },
      };
    } catch (error) {
      await lease?.close();
      throw error;
    }
  }

  async stream(digest: Digest): Promise<Readable> {
    await this.stat(digest);
    return this.#blobs.stream(digest);
  }

  blobFile(digest: Digest): string {
    return this.#paths.blob(digest);
  }

  async begin(descriptor: Descriptor, signal: AbortSignal): Promise<PartialBlob | 'present'> {
    const { digest } = descriptor;
    if ((await this.stat(digest)) === descriptor.size) return 'present';
    const lock = await this.#locks.acquire(digestHex(digest), signal);
    try {
      if (!(await this.#isPresent(descriptor))) {
        const onCommit = (): Promise<void> => this.#keep(digest);
        return await openPartialFile({ descriptor, paths: this.#paths, lock, onCommit });
      }
    } catch (error) {
      await lock.release();
      throw error;
    }
    await lock.release();
    return 'present';
  }

  async lease(digests: readonly Digest[]): Promise<Lease> {
    const unique = [...new Set(digests)];
    await this.#underIndexLock(() => this.#leases.hold(unique));
    return this.#leaseOf(unique);
  }

  verify(digest: Digest): Promise<boolean> {
    return onDisk(`cannot read ${shortDigest(digest)}`, async () => {
      const intact = await this.#blobs.verify(digest);
      if (!intact) await this.#blobs.remove(digest);
      return intact;
    });
  }

  recordImage(image: ResolvedImage): Promise<void> {
    return this.#underIndexLock(async () => {
      // As what this run commits: kept until this opened store is closed.
      await this.#keep(image.document.descriptor.digest);
      await this.#storeIndex.record(image);
    });
  }

  findImage(reference: ImageReference, platform?: Platform): Promise<ResolvedImage | undefined> {
    return onDisk('cannot read the store', () => this.#storeIndex.find(reference, platform));
  }

  listImages(): Promise<StoredImage[]> {
    return onDisk('cannot read the store', async () => {
      this.#listed = await fingerprint(this.#paths);
      return this.#storeIndex.list();
    });
  }

  heldBlobs(image: Pick<StoredImage, 'digest'>): Promise<Descriptor[]> {
    return this.#storeIndex.heldBlobs(image);
  }

  removeImage(reference: ImageReference): Promise<boolean> {
    return withReserve(this.#paths, () => this.#underIndexLock(() => this.#remove(reference)));
  }

  async gc(limit?: number, dryRun = false): Promise<GcResult> {
    if (dryRun) return this.#collector.collect(limit ?? (await this.#collector.limit()), dryRun);
    return withReserve(this.#paths, async () => {
      if (limit !== undefined) await this.#collector.remember(limit);
      return this.#collector.collect(limit ?? (await this.#collector.limit()));
    });
  }

  async settle(): Promise<void> {
    const kept = this.#kept;
    this.#kept = [];
    await this.#leases.letGo(kept);
  }

  async linkTo(digest: Digest, path: string, signal: AbortSignal): Promise<boolean> {
    const found = await this.#blobs.find(digest);
    if (found === undefined || found.isLinked || (await stat(path)).size !== found.size) return false;
    const hash = createHash('sha256');
    // Read as long as the blob is: what is linked is this very file, whatever gets its name meanwhile.
    const draft = this.#paths.own('tmp', randomUUID());
    await link(path, draft);
    try {
      for await (const chunk of createReadStream(draft, { signal })) hash.update(chunk as Buffer);
      if (hash.digest('hex') !== digestHex(digest)) return false;
      if ((await this.#blobs.find(digest)) === undefined) return false;
      await rename(draft, this.#paths.blob(digest));
      return true;
    } finally {
      await rm(draft, { force: true });
    }
  }

  assertRoom(blobs: readonly Descriptor[]): Promise<void> {
    return assertRoom(this.#paths, blobs);
  }

  usage(): Promise<Usage> {
    return this.#collector.usage();
  }

  async *changes(signal: AbortSignal): AsyncGenerator<void> {
    yield* watchChanges(this.#paths, this.#listed ?? (await fingerprint(this.#paths)), signal);
  }

  close(): Promise<void> {
    return this.#leases.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * A committed blob of another size than wanted: either the descriptor is wrong, or the file was damaged.
   * Hashing it tells which.
   */
  async #isPresent({ digest, size }: Descriptor): Promise<boolean> {
    const found = await this.stat(digest);
    if (found === undefined || found === size) return found === size;
    if (!(await this.verify(digest))) return false;
    throw new QuayctlError(
      'verification',
      `${shortDigest(digest)} has ${found} bytes, not ${size} as was said`,
    );
  }

  async #remove(reference: ImageReference): Promise<boolean> {
    const reached = new Set<Digest>();
    const removed = await this.#storeIndex.forget((image) => {
      if (!answersTo(image, reference) && image.name !== formatReference(reference)) return false;
      reached.add(image.descriptor.digest);
      if (image.index !== undefined) reached.add(image.index);
      if (image.carrier !== undefined) reached.add(image.carrier);
      return true;
    });
    for (const digest of [...reached]) {
      for (const part of await this.#storeIndex.reach(digest, undefined)) reached.add(part);
    }
    await this.#collector.dropUnused(reached);
    return removed;
  }

  /** Until this opened store is closed, or `settle` is called. */
  async #keep(digest: Digest): Promise<void> {
    await this.#leases.hold([digest]);
    this.#kept.push(digest);
  }

  /** For readers: a store on a read-only file system can be read, and no gc runs there. */
  async #quietLease(digest: Digest): Promise<Lease> {
    try {
      await this.#leases.hold([digest]);
      return this.#leaseOf([digest]);
    } catch {
      return this.#leaseOf([]);
    }
  }

  #leaseOf(digests: readonly Digest[]): Lease {
    let closed: Promise<void> | undefined;
    const close = (): Promise<void> => (closed ??= this.#leases.letGo(digests));
    return { close, [Symbol.asyncDispose]: close };
  }

  async #lockIndex(): Promise<Lock> {
    const patience = AbortSignal.timeout(INDEX_PATIENCE_MS);
    try {
      return await this.#locks.acquire(INDEX_LOCK, patience);
    } catch (error) {
      if (!patience.aborted) throw error;
      throw new QuayctlError('store', `the index of the store ${this.path} is held by another process`, {
        hint: 'is there a quayctl that was stopped (Ctrl-Z)? continue or end it',
      });
    }
  }

  async #underIndexLock<T>(work: () => Promise<T>): Promise<T> {
    const lock = await this.#lockIndex();
    try {
      return await onDisk('cannot write to the store', work);
    } finally {
      await lock.release();
    }
  }
}
