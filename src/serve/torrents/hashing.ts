import { Semaphore } from '../../base/semaphore.ts';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { ServeListener } from '../events.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobName } from '../../http-server/path.ts';
import { HashingPass } from './hashing-pass.ts';
import type { HashStore, PieceHashes } from './hash-store.ts';

/** Reading and hashing overlap in more than two only where the upstream is slower than a core. */
const PASSES_AT_ONCE = 4;
/** Of all waiting and running; more than the layers of a whole registry's images pulled at once. */
const MAX_PASSES = 1000;
/** A caller's credential reads for those who ask: clients ask again at least every 60 seconds. */
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

export interface HashingOptions {
  readonly upstream: Upstream;
  /** The upstream as the service itself may read it. */
  readonly own: Upstream;
  readonly store: HashStore;
  readonly listener: ServeListener;
}

/** Piece hashes of blobs: from disk, or by one pass for each digest, whoever asks and however many do. */
export class Hashing {
  readonly #options: HashingOptions;
  readonly #running = new Map<Digest, RunningPass>();
  /** When a pass was last asked for, milliseconds on the clock of performance.now. */
  readonly #askedAt = new WeakMap<HashingPass, number>();
  readonly #turns = new Semaphore(PASSES_AT_ONCE);
  readonly #failures = new Map<Digest, { readonly error: QuayctlError; readonly until: number }>();
  readonly #closing = new AbortController();

  constructor(options: HashingOptions) {
    this.#options = options;
  }

  /**
   * The hashes, or the pass that makes them. A pass outlives the request that began it; one that has to read with a
   * caller's credential ends when nobody asks for it any more.
   * @param size of the blob, bytes, > 0
   * @param authorization of the caller who may read the blob
   * @throws QuayctlError `limit` where too many passes wait; `verification` where the blob was lately found wrong
   */
  async hashes(
    blob: BlobName,
    size: number,
    authorization: string | undefined,
  ): Promise<PieceHashes | RunningPass> {
    const known = this.#asked(blob.digest) ?? (await this.#options.store.load(blob.digest));
    if (known !== undefined) return known;
    const failure = this.#failures.get(blob.digest);
    if (failure !== undefined && failure.until > Date.now()) throw failure.error;
    // Somebody may have begun while the disk was read.
    return this.#asked(blob.digest) ?? this.#begin(new HashingPass(blob, size), authorization);
  }

  /** Passes that run or wait. */
  get running(): number {
    return this.#running.size;
  }

  /** Stops every pass; what is on disk stays. */
  close(): void {
    this.#closing.abort();
  }

  #begin(pass: HashingPass, authorization: string | undefined): RunningPass {
    const { digest } = pass.blob;
    if (this.#running.size >= MAX_PASSES) {
      throw new QuayctlError('limit', `more than ${MAX_PASSES} blobs wait to be hashed`);
    }
    this.#askedAt.set(pass, performance.now());
    const ahead = [...this.#running.values()];
    const done = this.#turns
      .run(() => this.#run(pass, authorization), this.#closing.signal)
      .catch((error: unknown) => {
        throw this.#failed(digest, error);
      })
      .finally(() => this.#running.delete(digest));
    // Those who wait see the failure; nobody has to.
    done.catch(() => undefined);
    const etaSeconds = (): number => {
      const queued = ahead.filter((other) => this.#running.get(other.pass.blob.digest) === other);
      return queued.reduce((sum, other) => sum + other.pass.etaSeconds / PASSES_AT_ONCE, pass.etaSeconds);
    };
    const running = { pass, done, etaSeconds };
    this.#running.set(digest, running);
    return running;
  }

  async #run(pass: HashingPass, authorization: string | undefined): Promise<PieceHashes> {
    const { store, listener } = this.#options;
    const { digest } = pass.blob;
    listener({ kind: 'hashing', digest, size: pass.size });
    const startedAt = performance.now();
    const hashes = await this.#read(pass, authorization);
    listener({ kind: 'hashed', digest, size: pass.size, seconds: (performance.now() - startedAt) / 1000 });
    await store.save(hashes).catch((error: unknown) => {
      listener({
        kind: 'warning',
        message: error instanceof Error ? error.message : 'piece hashes were not kept',
      });
    });
    return hashes;
  }

  #asked(digest: Digest): RunningPass | undefined {
    const running = this.#running.get(digest);
    if (running !== undefined) this.#askedAt.set(running.pass, performance.now());
    return running;
  }

  /** As the service itself where that may read the blob, else with what the caller showed. */
  async #read(pass: HashingPass, authorization: string | undefined): Promise<PieceHashes> {
    const { own, upstream } = this.#options;
    try {
      return await pass.run(own, undefined, this.#closing.signal);
    } catch (error) {
      if (authorization === undefined || !isQuayctlError(error, ...OWN_READING_REFUSED)) throw error;
    }
    const lapsed = new AbortController();
    const timer = setInterval(() => {
      if (performance.now() - (this.#askedAt.get(pass) ?? 0) < INTEREST_MS) return;
      lapsed.abort(
        new QuayctlError('interrupted', `nobody waits for the piece hashes of ${pass.blob.digest}`),
      );
    }, INTEREST_CHECK_MS).unref();
    try {
      return await pass.run(upstream, authorization, AbortSignal.any([this.#closing.signal, lapsed.signal]));
    } finally {
      clearInterval(timer);
    }
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
