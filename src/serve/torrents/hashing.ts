import { orAborted } from '../../base/abort.ts';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { Claimants, TurnLimits } from '../../base/turns.ts';
import type { BlobName } from '../../http-server/path.ts';
import type { Digest } from '../../image/digest.ts';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import { PieceHasher } from '../../metainfo/piece-hasher.ts';
import type { BlobCache } from '../cache/blob-cache.ts';
import type { BlobPass, LocalBlob } from '../cache/blob-pass.ts';
import type { ServeListener } from '../events.ts';
import { Jobs, type Job } from '../jobs.ts';
import { readUpstreamBlob } from '../upstream/upstream-blob.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { HashStore, PieceHashes } from './hash-store.ts';

/**
 * Blobs that are hashed at once and that wait, in all and for one site or account. More than two at once help only
 * where the upstream is slower than a core; a site may ask for all layers of all images that its machines pull.
 */
const LIMITS: TurnLimits = {
  what: 'blobs to be hashed',
  atOnce: 4,
  atOnceEach: 3,
  most: 1000,
  mostEach: 400,
};
/** The operator's own work is bounded by what is named on the command line. */
const OWN_LIMITS: TurnLimits = { ...LIMITS, atOnceEach: LIMITS.atOnce, most: Infinity, mostEach: Infinity };
const JOBS = {
  /** What one core hashes, or a link of 1.6 Gbit/s carries. Bytes per second. */
  presumedRate: 200_000_000,
  /** Only what is wrong with the content itself: an upstream that was away may be back at once. */
  lasting: ['verification'],
  failureMs: 30_000,
} as const;
/**
 * Hashing with a caller's credential ends this long after the last caller asked. Clients ask at least every 60
 * seconds.
 */
const GONE_MS = 90_000;

/** A gateway may lead strangers to its login page in place of a refusal: then the content is another. */
const OWN_READING_REFUSED = ['unauthorized', 'not-found', 'verification'] as const;

/** For whom a blob is hashed. */
export interface HashingCaller {
  /** The Authorization header of a caller who may read the blob. */
  readonly authorization: string | undefined;
  readonly claimants: Claimants;
}

export interface HashingOptions {
  readonly upstream: Upstream;
  /** The upstream as the service itself may read it. */
  readonly own: Upstream;
  readonly store: Pick<HashStore, 'load' | 'save'>;
  /** Takes in what is read, for those who read along; absent: nobody can. */
  readonly cache?: BlobCache | undefined;
  readonly listener: ServeListener;
  /** Whether hashes are for the operator, who waits for all of them: there is no bound then, and none is given up. */
  readonly isForOperator?: boolean;
}

/** Piece hashes of blobs: from disk, or by reading each blob once, whoever asks and however many do. */
export class Hashing {
  readonly #options: HashingOptions;
  readonly #jobs: Jobs<PieceHashes>;
  /** What is being read into the cache, and what somebody waits for to be read. */
  readonly #passes = new Map<Digest, PromiseWithResolvers<BlobPass>>();

  constructor(options: HashingOptions) {
    this.#options = options;
    const { isForOperator = false } = options;
    const limits = isForOperator ? OWN_LIMITS : LIMITS;
    this.#jobs = new Jobs({ ...JOBS, limits, goneMs: isForOperator ? Infinity : GONE_MS });
  }

  /**
   * The hashes, or the job that makes them.
   * @param size of the blob, bytes, > 0
   * @param caller who may read the blob
   * @throws QuayctlError `limit` where too many wait; `verification` where the blob was lately found wrong
   */
  hashes(blob: BlobName, size: number, caller: HashingCaller): Promise<PieceHashes | Job<PieceHashes>> {
    const { store, listener } = this.#options;
    const { digest } = blob;
    return this.#jobs.get({
      key: digest,
      what: `the piece hashes of ${digest}`,
      size,
      claimants: caller.claimants,
      load: () => store.load(digest),
      work: (job, signal) => this.#make(blob, job, caller.authorization, signal),
      onFailed: ({ message }) => listener({ kind: 'hashing-failed', digest, reason: message }),
    });
  }

  /** Whether direct reads of a blob of so many bytes are given from the reading that makes its hashes. */
  canBeFollowed(size: number): boolean {
    return this.#options.cache?.fits(size) ?? false;
  }

  /**
   * The reading of a blob that is being hashed, for somebody who may read the blob and would read it from the upstream
   * otherwise. One that waits for its turn begins.
   * @returns `leave` must be called when the read is over; undefined where the blob is not being hashed, or cannot be kept
   * @throws the signal's reason
   */
  async follow(
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ readonly blob: LocalBlob; readonly leave: () => Promise<void> } | undefined> {
    const job = this.#jobs.running(digest);
    if (job === undefined || !this.canBeFollowed(job.size)) return undefined;
    const leave = job.join();
    try {
      this.#jobs.hurry(digest);
      const over = job.done.then(nothing, nothing);
      void over.then(() => this.#passes.delete(digest));
      const blob = await orAborted(Promise.race([this.#pass(digest).promise, over]), signal);
      const release = blob?.hold();
      if (blob === undefined || release === undefined) return undefined;
      const end = job.join();
      return {
        blob,
        leave: () => {
          end('gone');
          return release();
        },
      };
    } finally {
      leave('gone');
    }
  }

  /** Whether a blob is being hashed, or waits for it. */
  isRunning(digest: Digest): boolean {
    return this.#jobs.running(digest) !== undefined;
  }

  /** Blobs that are being hashed, or wait for it. */
  get running(): number {
    return this.#jobs.keys.size;
  }

  /** The jobs of these, by digest. */
  jobs(): [string, Job<PieceHashes>][] {
    return this.#jobs.list();
  }

  /** Stops all work; what is on disk stays. */
  close(): void {
    this.#jobs.close();
  }

  async #make(
    blob: BlobName,
    job: Job<PieceHashes>,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<PieceHashes> {
    const { store, listener } = this.#options;
    const about = { digest: blob.digest, size: job.size };
    listener({ kind: 'hashing', ...about });
    const startedAt = performance.now();
    const hashes = await this.#read(blob, job, authorization, signal).finally(() =>
      this.#passes.delete(blob.digest),
    );
    listener({ kind: 'hashed', ...about, seconds: (performance.now() - startedAt) / 1000 });
    await store.save(hashes).catch((error: unknown) => {
      const message = error instanceof Error ? error.message : 'piece hashes were not kept';
      listener({ kind: 'warning', message });
    });
    return hashes;
  }

  /** As the service itself where that may read the blob, else with what the caller showed, which is kept nowhere. */
  async #read(
    blob: BlobName,
    job: Job<PieceHashes>,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<PieceHashes> {
    const { own, upstream } = this.#options;
    try {
      return await this.#hashBlob(own, blob, undefined, job, signal);
    } catch (error) {
      if (authorization === undefined || !isQuayctlError(error, ...OWN_READING_REFUSED)) throw error;
    }
    job.begin();
    return this.#hashBlob(upstream, blob, authorization, job, signal);
  }

  #pass(digest: Digest): PromiseWithResolvers<BlobPass> {
    const known = this.#passes.get(digest);
    if (known !== undefined) return known;
    const pass = Promise.withResolvers<BlobPass>();
    this.#passes.set(digest, pass);
    return pass;
  }

  /**
   * Reads the blob to its end, into the cache, too, if there is room.
   * @throws QuayctlError `verification` where the content has another size or digest; what reading it throws
   */
  async #hashBlob(
    upstream: Upstream,
    blob: BlobName,
    authorization: string | undefined,
    job: Pick<Job<unknown>, 'size' | 'advance'>,
    signal: AbortSignal,
  ): Promise<PieceHashes> {
    const { cache } = this.#options;
    const { digest } = blob;
    const { size } = job;
    const hasher = new PieceHasher(pieceGeometry(size));
    const request = { ...blob, size, start: 0, end: size, authorization };
    let pass: BlobPass | undefined;
    let isBegun = false;
    let isRight = false;
    try {
      for await (const chunk of readUpstreamBlob(upstream, request, signal)) {
        if (!isBegun) pass = await this.#beginPass(digest, size);
        isBegun = true;
        hasher.update(chunk);
        await pass?.write(chunk);
        job.advance(chunk.length);
      }
      const found = hasher.finish();
      isRight = found.digest === digest;
      if (!isRight) {
        throw new QuayctlError('verification', `upstream: the content of blob ${digest} has another digest`);
      }
      return { digest, length: found.length, pieces: found.pieces, made: Math.floor(Date.now() / 1000) };
    } finally {
      if (pass !== undefined) await cache?.end(pass, isRight ? digest : undefined);
    }
  }

  /** Not before the first bytes are here: the upstream may refuse the service and give the blob to a caller only. */
  async #beginPass(digest: Digest, size: number): Promise<BlobPass | undefined> {
    const pass = await this.#options.cache?.begin(size);
    if (pass === undefined) return undefined;
    const waited = this.#pass(digest);
    waited.resolve(pass);
    // Who comes from now on gets this one, also where an earlier one had wrong content.
    this.#passes.set(digest, { ...waited, promise: Promise.resolve(pass) });
    return pass;
  }
}

function nothing(): undefined {
  return undefined;
}
