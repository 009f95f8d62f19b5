import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { Turns, type Claimants, type TurnLimits } from '../../base/turns.ts';
import type { Digest } from '../../image/digest.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import { PieceHasher } from '../../metainfo/piece-hasher.ts';
import { isCrowded } from '../../layers/budget.ts';
import type { ServeListener } from '../events.ts';
import type { ServedFile } from '../../http-server/send-file.ts';
import type { HashStore, PieceHashes } from '../torrents/hash-store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { Derivation } from './derivation.ts';
import { DerivedStore, type DerivedFile } from './derived-store.ts';
import type { Recipe } from './recipe.ts';
import { blobOpener, fetchSource, type ImageName } from './source-blobs.ts';

/** Each takes a core, and the disk. One site has two of the places: another always finds one. */
const LIMITS: TurnLimits = {
  what: 'derived images',
  atOnce: 3,
  atOnceEach: 2,
  most: 100,
  mostEach: 8,
};
const INTEREST_CHECK_MS = 1000;
/** What is wrong with an image is wrong with it the next time, too. */
const FAILURE_REMEMBERED_MS = 10 * 60_000;
const MAX_FAILURES = 1000;
/** What a layer is made of may be chosen to cost much: others wait for their turn meanwhile. */
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

/** Images made of images: from disk, or made once for all who wait. */
export class DerivedImages {
  readonly #options: DerivedImagesOptions;
  readonly #running = new Map<string, Derivation>();
  readonly #turns = new Turns(LIMITS);
  readonly #failures = new Map<string, { readonly error: QuayctlError; readonly until: number }>();
  readonly #closing = new AbortController();
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
  async image(image: ImageName, recipe: Recipe, caller: DerivedCaller): Promise<DerivedFile | Derivation> {
    const key = DerivedStore.key([image.digest, recipe.kind, ...recipe.inputs]);
    const known = this.#running.get(key) ?? (await this.#options.store.find(key));
    if (known !== undefined) return known;
    const failure = this.#failures.get(key);
    if (failure !== undefined && failure.until > Date.now()) throw failure.error;
    // Somebody may have begun while the disk was read.
    return this.#running.get(key) ?? this.#begin(key, image, recipe, caller);
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

  /** Stops all work; what has been read and made stays. */
  close(): void {
    clearInterval(this.#cleaner);
    this.#closing.abort();
  }

  #begin(key: string, image: ImageName, recipe: Recipe, caller: DerivedCaller): Derivation {
    const place = this.#turns.enter(caller.claimants);
    const ahead = [...this.#running.values()];
    const derivation = new Derivation(image.manifest, ahead, (each) =>
      this.#run(key, each, image, recipe, caller.authorization, place.turn).finally(() => {
        place.release();
        this.#running.delete(key);
      }),
    );
    this.#running.set(key, derivation);
    return derivation;
  }

  async #run(
    key: string,
    derivation: Derivation,
    image: ImageName,
    recipe: Recipe,
    authorization: string | undefined,
    turn: (signal: AbortSignal) => Promise<void>,
  ): Promise<DerivedFile> {
    const { listener } = this.#options;
    const about = { what: recipe.kind, repository: image.repository, digest: image.digest };
    const lapsed = new AbortController();
    const interest = setInterval(() => {
      if (derivation.isAbandoned) lapsed.abort(abandoned(recipe.kind, image.digest));
    }, INTEREST_CHECK_MS).unref();
    const signal = AbortSignal.any([this.#closing.signal, lapsed.signal]);
    try {
      await turn(signal);
      const startedAt = performance.now();
      listener({ kind: 'deriving', ...about });
      const file = await this.#make(key, derivation, image, recipe, authorization, signal);
      const seconds = (performance.now() - startedAt) / 1000;
      listener({ kind: 'derived', ...about, size: file.length, seconds });
      return file;
    } catch (cause) {
      const error = this.#failed(key, image, cause);
      if (isOver(error)) await this.#options.store.discardWork(key);
      throw error;
    } finally {
      clearInterval(interest);
    }
  }

  async #make(
    key: string,
    derivation: Derivation,
    image: ImageName,
    recipe: Recipe,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<DerivedFile> {
    const { store, hashes } = this.#options;
    // What it is made of and what it becomes lie on the disk at the same time.
    await store.ensureRoom(2 * derivation.blobBytes, new Set(this.#running.keys()));
    const workplace = await store.workplace(key);
    const open = blobOpener(this.#options, authorization, signal);
    const onBytes = (bytes: number): void => derivation.advance(bytes);
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

  #failed(key: string, { digest }: ImageName, cause: unknown): QuayctlError {
    const error = asQuayctlError(cause, `what was to be made of ${digest} could not be made`);
    if (this.#closing.signal.aborted) return error;
    this.#options.listener({ kind: 'deriving-failed', digest, reason: error.message });
    if (LASTING.has(error.code)) {
      if (this.#failures.size >= MAX_FAILURES) this.#failures.clear();
      this.#failures.set(key, { error, until: Date.now() + FAILURE_REMEMBERED_MS });
    }
    return error;
  }

  async #clean(): Promise<void> {
    try {
      await this.#options.store.clean(new Set(this.#running.keys()));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.listener({ kind: 'warning', message: `derived images were not cleaned: ${reason}` });
    }
  }
}

/** Work whose result would be the same the next time, or for which there is no room: nobody takes it up again. */
function isOver({ code }: QuayctlError): boolean {
  return LASTING.has(code) || code === 'not-found' || code === 'disk-full';
}

function abandoned(what: string, digest: Digest): QuayctlError {
  return new QuayctlError('interrupted', `nobody waits for the ${what} of ${digest} any more`);
}

/** Milliseconds; a real image takes a tenth of it, on a machine with other work. */
function deadlineOf({ manifest: { layers } }: ImageName): number {
  const bytes = layers.reduce((sum, { size }) => sum + size, 0);
  return Math.min(LONGEST_TIMER_MS, LEAST_DEADLINE_MS + Math.ceil((bytes / LEAST_BYTES_PER_SECOND) * 1000));
}

/** Of the image itself; an upstream that was away may be back at once. */
const LASTING = new Set<QuayctlError['code']>(['unsupported']);

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
