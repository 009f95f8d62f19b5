import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import { PieceHasher } from '../../metainfo/piece-hasher.ts';
import type { ServeListener } from '../events.ts';
import type { ServedFile } from '../../http-server/send-file.ts';
import type { HashStore, PieceHashes } from '../torrents/hash-store.ts';
import { openStore } from '../../store/open-store.ts';
import { Jobs, type Job } from '../jobs.ts';
import { upstreamSource, type UpstreamReaders } from '../upstream/upstream-source.ts';
import { DerivedStore, type DerivedFile } from './derived-store.ts';
import type { Recipe } from './recipe.ts';
import { fetchSource, type ImageName } from './source-blobs.ts';

const LIMITS = {
  /** Each takes a core, and the disk. */
  atOnce: 2,
  max: 100,
  what: 'derived images wait to be made',
  /** What one core reads, merges and compresses, of blobs. */
  presumedRate: 30_000_000,
  /** What is wrong with an image is wrong with it the next time, too; an upstream that was away may be back at once. */
  lasting: ['unsupported'],
  failureMs: 10 * 60_000,
} as const;
/** An image's blobs are read from the upstream, for their headers, and for their content. */
const READINGS = 3;
const CLEAN_EVERY_MS = 3_600_000;
/** Bytes read at one time for hashing. */
const HASHED_AT_ONCE = 1024 * 1024;
/** The name of a file that a recipe is writing. */
const DRAFT = 'draft';
/** The store of the blobs that it is made of: what is read by the time of a restart is not read again. */
const BLOBS = 'blobs';

export interface DerivedImagesOptions extends UpstreamReaders {
  readonly store: DerivedStore;
  readonly hashes: HashStore;
  readonly listener: ServeListener;
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
  readonly #jobs = new Jobs<DerivedFile>(LIMITS);
  readonly #cleaner: NodeJS.Timeout;

  constructor(options: DerivedImagesOptions) {
    this.#options = options;
    this.#cleaner = setInterval(() => void this.#clean(), CLEAN_EVERY_MS).unref();
    void this.#clean();
  }

  /**
   * The image, or the work that makes it, which outlives the request that began it. Where blobs have to be read with a
   * caller's credential it ends when nobody asks any more; what was read by then is not read again.
   * @param authorization of a caller who may read the image
   * @throws QuayctlError `limit` where too many wait; what it failed with lately
   */
  image(
    image: ImageName,
    recipe: Recipe,
    authorization: string | undefined,
  ): Promise<DerivedFile | Job<DerivedFile>> {
    const key = DerivedStore.key([image.digest, recipe.kind, ...recipe.inputs]);
    const { config, layers } = image.manifest;
    const size = config.size + READINGS * layers.reduce((sum, layer) => sum + layer.size, 0);
    return this.#jobs.get(
      key,
      () => this.#options.store.find(key),
      size,
      (job, signal) => this.#run({ key, job, image, recipe, authorization, signal }),
    );
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
  served({ digest, length }: Pick<DerivedFile, 'digest' | 'length'>): ServedFile {
    const read = (start: number, end: number): Readable => this.#options.store.read(digest, start, end);
    return { length, etag: digest, read };
  }

  /** By its own digest. */
  async find(digest: Digest): Promise<ServedFile | undefined> {
    const length = await this.#options.store.lengthOf(digest);
    return length === undefined ? undefined : this.served({ digest, length });
  }

  /** Stops all work; what has been read and made stays. */
  close(): void {
    clearInterval(this.#cleaner);
    this.#jobs.close();
  }

  async #run(making: Making): Promise<DerivedFile> {
    const { listener } = this.#options;
    const { image, recipe } = making;
    const { repository, digest } = image;
    const about = { what: recipe.kind, repository, digest };
    try {
      const startedAt = performance.now();
      listener({ kind: 'deriving', ...about });
      const file = await this.#make(making);
      const seconds = (performance.now() - startedAt) / 1000;
      listener({ kind: 'derived', ...about, size: file.length, seconds });
      return file;
    } catch (cause) {
      const error = asQuayctlError(cause, `what was to be made of ${digest} could not be made`);
      // What the end of the service breaks off is no failure.
      if (!this.#jobs.isClosing) listener({ kind: 'deriving-failed', digest, reason: error.message });
      throw error;
    }
  }

  async #make({ key, job, image, recipe, authorization, signal }: Making): Promise<DerivedFile> {
    const { store, hashes } = this.#options;
    const workplace = await store.workplace(key);
    const draft = join(workplace, DRAFT);
    await rm(draft, { force: true });
    const source = upstreamSource(this.#options, image.repository, authorization, () => job.rideOnCaller());
    const blobs = await openStore(join(workplace, BLOBS));
    let notes: Readonly<Record<string, string>>;
    try {
      const onBytes = (bytes: number): void => job.advance(bytes);
      notes = await recipe.write(await fetchSource(image, blobs, source, onBytes, signal), draft, signal);
    } finally {
      await blobs.close();
    }
    const { size } = await stat(draft);
    const hashed = await hashStream(createReadStream(draft, { signal, highWaterMark: HASHED_AT_ONCE }), size);
    await hashes.save(hashed);
    const file = { digest: hashed.digest, length: hashed.length, notes };
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

/**
 * What is wrong with an image is `unsupported`, which reaches the user with its reason: asking again does not help. A
 * service that has too much to do says `limit`, which clients wait for.
 */
function asQuayctlError(cause: unknown, what: string): QuayctlError {
  if (isQuayctlError(cause, 'limit', 'protocol', 'verification')) {
    return new QuayctlError('unsupported', cause.message, { cause, hint: cause.hint });
  }
  if (isQuayctlError(cause)) return cause;
  const isFull = /^(?:ENOSPC|EDQUOT)$/.test(String((cause as NodeJS.ErrnoException).code));
  return new QuayctlError(isFull ? 'disk-full' : 'unreachable', what, { cause });
}

async function hashStream(bytes: Readable, length: number): Promise<PieceHashes> {
  const hasher = new PieceHasher(pieceGeometry(length));
  for await (const chunk of bytes) hasher.update(chunk as Uint8Array);
  return { ...hasher.finish(), made: Math.floor(Date.now() / 1000) };
}
