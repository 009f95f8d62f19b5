import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { Claimants, TurnLimits } from '../../base/turns.ts';
import type { Digest } from '../../image/digest.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import { PieceHasher } from '../../metainfo/piece-hasher.ts';
import { isCrowded } from '../../layers/budget.ts';
import type { ServeListener } from '../events.ts';
import { Jobs, type Job } from '../jobs.ts';
import type { ServedFile } from '../../http-server/send-file.ts';
import type { HashStore, PieceHashes } from '../torrents/hash-store.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { DerivedStore, type DerivedFile } from './derived-store.ts';
import type { Recipe } from './recipe.ts';
import { blobOpener, fetchSource, type ImageName } from './source-blobs.ts';

/**
 * Squashed images and ACIs that are made at once and that wait, in all and for one site or account. Each takes a core
 * and the disk. Two sites can hold the three places until their deadlines; after a minute another gets one all the same.
 */
const LIMITS: TurnLimits = {
  what: 'derived images',
  atOnce: 3,
  atOnceEach: 2,
  most: 100,
  mostEach: 8,
  spare: 2,
  spareAfterMs: 60_000,
};
const JOBS = {
  limits: LIMITS,
  /** What one core reads, merges and compresses, of blobs. Bytes per second. */
  presumedRate: 30_000_000,
  /** What is wrong with an image is wrong with it the next time, too; an upstream that was away may be back at once. */
  lasting: ['unsupported'],
  failureMs: 10 * 60_000,
  goneMs: 5_000,
} as const;
/** An image's blobs are read from the upstream, for their headers, and for their content. */
const READINGS = 3;
/**
 * The time in which an image must be made, besides a second for each megabyte of it. Layers can be made to be costly,
 * and others wait meanwhile.
 */
const LEAST_DEADLINE_MS = 3 * 60_000;
const LEAST_BYTES_PER_SECOND = 1_000_000;
/** Timers count in 31 bits. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const CLEAN_EVERY_MS = 3_600_000;
/** Bytes read at one time for hashing. */
const HASHED_AT_ONCE = 1024 * 1024;
/** The name of a file that a recipe is writing. */
const DRAFT = 'draft';
/** What is asked for by its digest has always been the same. */
const UNCHANGING = new Date(0);

export interface DerivedImagesOptions {
  readonly upstream: Upstream;
  /** The upstream as the service itself may read it. */
  readonly own: Upstream;
  readonly store: DerivedStore;
  readonly hashes: HashStore;
  readonly listener: ServeListener;
}

/** Somebody who may read an image. */
export interface DerivedCaller {
  readonly authorization: string | undefined;
  readonly claimants: Claimants;
}

/** One image that is being made. */
interface Making {
  readonly key: string;
  readonly job: Job<DerivedFile>;
  readonly image: ImageName;
  readonly recipe: Recipe;
  readonly authorization: string | undefined;
  readonly signal: AbortSignal;
}

/** Images made of images: from disk, or made once for all who wait. */
export class DerivedImages {
  readonly #options: DerivedImagesOptions;
  readonly #jobs = new Jobs<DerivedFile>(JOBS);
  readonly #cleaner: NodeJS.Timeout;

  constructor(options: DerivedImagesOptions) {
    this.#options = options;
    this.#cleaner = setInterval(() => void this.#clean(), CLEAN_EVERY_MS).unref();
    void this.#clean();
  }

  /**
   * The image, or the work that makes it, which outlives the request that began it, and ends when nobody waits for it any
   * more; what was read by then is not read again.
   * @param caller who may read the image
   * @throws QuayctlError `limit` where too many wait, `disk-full`; what it failed with lately
   */
  image(image: ImageName, recipe: Recipe, caller: DerivedCaller): Promise<DerivedFile | Job<DerivedFile>> {
    const key = DerivedStore.key([image.digest, recipe.kind, ...recipe.inputs]);
    const { store, listener } = this.#options;
    const { digest, manifest } = image;
    const layerBytes = manifest.layers.reduce((sum, { size }) => sum + size, 0);
    return this.#jobs.get({
      key,
      what: `the ${recipe.kind} of ${digest}`,
      size: manifest.config.size + READINGS * layerBytes,
      claimants: caller.claimants,
      load: () => store.find(key),
      work: (job, signal) =>
        this.#run({ key, job, image, recipe, authorization: caller.authorization, signal }),
      onFailed: async (error) => {
        listener({ kind: 'deriving-failed', digest, reason: error.message });
        if (isOver(error)) await store.discardWork(key);
      },
    });
  }

  /** Piece hashes of a derived image; made again should they be lost. */
  async hashes(file: DerivedFile): Promise<PieceHashes> {
    const { hashes, store } = this.#options;
    const known = await hashes.load(file.digest);
    if (known !== undefined) return known;
    const made = await hashStream(store.read(file.digest, 0, file.length), file.length);
    await hashes.save(made);
    return made;
  }

  /** To be given out. */
  served({ digest, length, modified }: Omit<DerivedFile, 'notes'>): ServedFile {
    const read = (start: number, end: number): Readable => this.#options.store.read(digest, start, end);
    return { length, etag: digest, modified, read };
  }

  /** By its own digest. */
  async find(digest: Digest): Promise<ServedFile | undefined> {
    const length = await this.#options.store.lengthOf(digest);
    return length === undefined ? undefined : this.served({ digest, length, modified: UNCHANGING });
  }

  /** Work that runs or waits, by its key. */
  jobs(): [string, Job<DerivedFile>][] {
    return this.#jobs.list();
  }

  /** Stops all work; what has been read and made stays. */
  close(): void {
    clearInterval(this.#cleaner);
    this.#jobs.close();
  }

  async #run(making: Making): Promise<DerivedFile> {
    const { listener } = this.#options;
    const { repository, digest } = making.image;
    const about = { what: making.recipe.kind, repository, digest };
    const startedAt = performance.now();
    listener({ kind: 'deriving', ...about });
    try {
      const file = await this.#make(making);
      const seconds = (performance.now() - startedAt) / 1000;
      listener({ kind: 'derived', ...about, size: file.length, seconds });
      return file;
    } catch (cause) {
      throw asQuayctlError(cause, `what was to be made of ${digest} could not be made`);
    }
  }

  async #make({ key, job, image, recipe, authorization, signal }: Making): Promise<DerivedFile> {
    const { store, hashes } = this.#options;
    // What it is made of and what it becomes lie on the disk at the same time.
    await store.ensureRoom(2 * blobBytes(image), this.#jobs.keys);
    const workplace = await store.workplace(key);
    const open = blobOpener(this.#options, authorization, signal);
    const onBytes = (bytes: number): void => job.advance(bytes);
    const source = await fetchSource(image, workplace, open, { check: recipe.check, onBytes }, signal);
    const draft = join(workplace, DRAFT);
    await rm(draft, { force: true });
    const deadline = AbortSignal.timeout(deadlineOf(image));
    const notes = await recipe
      .write(source, draft, AbortSignal.any([signal, deadline]))
      .catch((error: unknown) => {
        if (!deadline.aborted || signal.aborted) throw error;
        throw new QuayctlError('limit', 'its layers take longer to unpack than layers of their size do');
      });
    const { size } = await stat(draft);
    const hashed = await hashStream(createReadStream(draft, { signal, highWaterMark: HASHED_AT_ONCE }), size);
    await hashes.save(hashed);
    const file = { digest: hashed.digest, length: hashed.length, modified: new Date(), notes };
    await store.keep(key, draft, file);
    void this.#clean();
    return file;
  }

  async #clean(): Promise<void> {
    try {
      await this.#options.store.clean(this.#jobs.keys);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.listener({ kind: 'warning', message: `derived images were not cleaned: ${reason}` });
    }
  }
}

/** Work whose result would be the same the next time, or for which there is no room: nobody takes it up again. */
function isOver({ code }: QuayctlError): boolean {
  return JOBS.lasting.some((each) => each === code) || code === 'not-found' || code === 'disk-full';
}

function blobBytes({ manifest: { config, layers } }: ImageName): number {
  return layers.reduce((sum, { size }) => sum + size, config.size);
}

/** Milliseconds; a real image takes a tenth of it, on a machine with other work. */
function deadlineOf({ manifest: { layers } }: ImageName): number {
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  return Math.min(LONGEST_TIMER_MS, LEAST_DEADLINE_MS + Math.ceil((bytes / LEAST_BYTES_PER_SECOND) * 1000));
}

/**
 * What is wrong with an image is `unsupported`, which reaches the user with its reason: asking again does not help. A
 * service that has too much to do says `limit`, which clients wait for.
 */
function asQuayctlError(cause: unknown, what: string): QuayctlError {
  if (isQuayctlError(cause, 'limit', 'protocol', 'verification') && !isCrowded(cause)) {
    return new QuayctlError('unsupported', cause.message, { cause, hint: cause.hint });
  }
  if (isQuayctlError(cause)) return cause;
  // What no system call failed with is a fault of ours, and the image meets it again each time.
  if (cause instanceof TypeError || cause instanceof RangeError) {
    return new QuayctlError('unsupported', `${what}: ${cause.message}`, { cause });
  }
  const isFull = /^(?:ENOSPC|EDQUOT)$/.test(String((cause as NodeJS.ErrnoException).code));
  return new QuayctlError(isFull ? 'disk-full' : 'unreachable', what, { cause });
}

async function hashStream(bytes: Readable, length: number): Promise<PieceHashes> {
  const hasher = new PieceHasher(pieceGeometry(length));
  for await (const chunk of bytes) hasher.update(chunk as Uint8Array);
  return { ...hasher.finish(), made: Math.floor(Date.now() / 1000) };
}
