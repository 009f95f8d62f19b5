import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import { Turns, type Claimants, type TurnLimits } from '../../base/turns.ts';
import type { ServeListener } from '../events.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobName } from '../../http-server/path.ts';
import { HashingPass } from './hashing-pass.ts';
import type { HashStore, PieceHashes } from './hash-store.ts';

/**
 * Reading and hashing overlap in more than two only where the upstream is slower than a core. The bound of a site is more
 * than the layers of all images that its machines pull at once.
 */
const LIMITS: TurnLimits = {
  what: 'blobs to be hashed',
  atOnce: 4,
  atOnceEach: 3,
  most: 1000,
  mostEach: 400,
};
/** The operator's own work is bounded by what he names. */
const OWN_LIMITS: TurnLimits = { ...LIMITS, atOnceEach: LIMITS.atOnce, most: Infinity, mostEach: Infinity };
/** Clients that want the torrent of a blob ask again at least every 60 seconds. */
const INTEREST_MS = 90_000;
const INTEREST_CHECK_MS = 5000;
/** A wrong blob is not read again for every question about it. */
const FAILURE_REMEMBERED_MS = 30_000;
const MAX_FAILURES = 1000;

/** A gateway may lead strangers to its login page in place of a refusal: then the content is another. */
const OWN_READING_REFUSED = ['unauthorized', 'not-found', 'verification'] as const;

/** A pass that somebody may wait for. */
export interface RunningPass {
  readonly pass: HashingPass;
  /** @throws QuayctlError as HashingPass.run */
  readonly done: Promise<PieceHashes>;
  /** Seconds until it is done, those before it in the queue included. */
  etaSeconds(): number;
}

/** For whom a blob is hashed. */
export interface HashingCaller {
  /** Of a caller who may read the blob. */
  readonly authorization: string | undefined;
  readonly claimants: Claimants;
}

export interface HashingOptions {
  readonly upstream: Upstream;
  /** The upstream as the service itself may read it. */
  readonly own: Upstream;
  readonly store: HashStore;
  readonly listener: ServeListener;
  /** Whether passes are for the operator, who waits for all of them: there is no bound then, and none is given up. */
  readonly isForOperator?: boolean;
}

/** Piece hashes of blobs: from disk, or by one pass for each digest, whoever asks and however many do. */
export class Hashing {
  readonly #options: HashingOptions;
  readonly #running = new Map<Digest, RunningPass>();
  /** When a pass was last asked for, milliseconds on the clock of performance.now. */
  readonly #askedAt = new WeakMap<HashingPass, number>();
  readonly #turns: Turns;
  readonly #failures = new Map<Digest, { readonly error: QuayctlError; readonly until: number }>();
  readonly #closing = new AbortController();

  constructor(options: HashingOptions) {
    this.#options = options;
    this.#turns = new Turns(options.isForOperator === true ? OWN_LIMITS : LIMITS);
  }

  /**
   * The hashes, or the pass that makes them. A pass outlives the request that began it, and ends when nobody asks for it
   * any more.
   * @param size of the blob, bytes, > 0
   * @param caller who may read the blob
   * @throws QuayctlError `limit` where too many passes wait; `verification` where the blob was lately found wrong
   */
  async hashes(blob: BlobName, size: number, caller: HashingCaller): Promise<PieceHashes | RunningPass> {
    const known = this.#asked(blob.digest) ?? (await this.#options.store.load(blob.digest));
    if (known !== undefined) return known;
    const failure = this.#failures.get(blob.digest);
    if (failure !== undefined && failure.until > Date.now()) throw failure.error;
    // Somebody may have begun while the disk was read.
    return this.#asked(blob.digest) ?? this.#begin(new HashingPass(blob, size), caller);
  }

  /** Passes that run or wait. */
  get running(): number {
    return this.#running.size;
  }

  /** Stops every pass; what is on disk stays. */
  close(): void {
    this.#closing.abort();
  }

  #begin(pass: HashingPass, { authorization, claimants }: HashingCaller): RunningPass {
    const { digest } = pass.blob;
    const place = this.#turns.enter(claimants);
    this.#askedAt.set(pass, performance.now());
    const ahead = [...this.#running.values()];
    const done = this.#run(pass, authorization, place.turn).finally(() => {
      place.release();
      this.#running.delete(digest);
    });
    // Those who wait see the failure; nobody has to.
    done.catch(() => undefined);
    const etaSeconds = (): number => {
      const queued = ahead.filter((other) => this.#running.get(other.pass.blob.digest) === other);
      return queued.reduce((sum, other) => sum + other.pass.etaSeconds / LIMITS.atOnce, pass.etaSeconds);
    };
    const running = { pass, done, etaSeconds };
    this.#running.set(digest, running);
    return running;
  }

  async #run(
    pass: HashingPass,
    authorization: string | undefined,
    turn: (signal: AbortSignal) => Promise<void>,
  ): Promise<PieceHashes> {
    const { store, listener } = this.#options;
    const { digest } = pass.blob;
    const lapsed = new AbortController();
    const timer = setInterval(() => {
      if (!this.#isWanted(pass)) lapsed.abort(abandoned(digest));
    }, INTEREST_CHECK_MS).unref();
    const signal = AbortSignal.any([this.#closing.signal, lapsed.signal]);
    try {
      await turn(signal);
      listener({ kind: 'hashing', digest, size: pass.size });
      const startedAt = performance.now();
      const hashes = await this.#read(pass, authorization, signal);
      listener({ kind: 'hashed', digest, size: pass.size, seconds: (performance.now() - startedAt) / 1000 });
      await store.save(hashes).catch((error: unknown) => {
        listener({
          kind: 'warning',
          message: error instanceof Error ? error.message : 'piece hashes were not kept',
        });
      });
      return hashes;
    } catch (error) {
      throw this.#failed(digest, error);
    } finally {
      clearInterval(timer);
    }
  }

  #isWanted(pass: HashingPass): boolean {
    const idleMs = performance.now() - (this.#askedAt.get(pass) ?? 0);
    return this.#options.isForOperator === true || idleMs < INTEREST_MS;
  }

  #asked(digest: Digest): RunningPass | undefined {
    const running = this.#running.get(digest);
    if (running !== undefined) this.#askedAt.set(running.pass, performance.now());
    return running;
  }

  /** As the service itself where that may read the blob, else with what the caller showed. */
  async #read(
    pass: HashingPass,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<PieceHashes> {
    const { own, upstream } = this.#options;
    try {
      return await pass.run(own, undefined, signal);
    } catch (error) {
      if (authorization === undefined || !isQuayctlError(error, ...OWN_READING_REFUSED)) throw error;
    }
    return pass.run(upstream, authorization, signal);
  }

  #failed(digest: Digest, cause: unknown): QuayctlError {
    const error = isQuayctlError(cause)
      ? cause
      : new QuayctlError('unreachable', `blob ${digest} could not be read to its end`, { cause });
    // What the end of the service breaks off is no failure.
    if (this.#closing.signal.aborted) return error;
    this.#options.listener({ kind: 'hashing-failed', digest, reason: error.message });
    // Only what is wrong with the content itself: an upstream that was away may be back at once.
    if (error.code === 'verification') {
      if (this.#failures.size >= MAX_FAILURES) this.#failures.clear();
      this.#failures.set(digest, { error, until: Date.now() + FAILURE_REMEMBERED_MS });
    }
    return error;
  }
}

function abandoned(digest: Digest): QuayctlError {
  return new QuayctlError('interrupted', `nobody waits for the piece hashes of ${digest} any more`);
}
