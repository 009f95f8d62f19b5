import { isQuayctlError, QuayctlError, type ErrorCode } from '../base/errors.ts';
import { Turns, type Claimants, type TurnLimits } from '../base/turns.ts';

/** A caller that was told that the work is not done asks again at least every 60 seconds. */
const RETURN_MS = 90_000;
const INTEREST_CHECK_MS = 1000;
const MAX_FAILURES = 1000;
/** Jobs that run before their turn, because somebody reads along. */
const MAX_HURRIED = 16;
/** Below this a measured rate says more about the first packets than about the work. */
const MEASURABLE_SECONDS = 0.2;

export interface JobsOptions {
  readonly limits: TurnLimits;
  /** Bytes per second that a job is assumed to read until its own rate is known. */
  readonly presumedRate: number;
  /** Failures with these codes would only repeat themselves: they are remembered for `failureMs`. */
  readonly lasting: readonly ErrorCode[];
  readonly failureMs: number;
  /** How long a job goes on whose clients have all left: they may have been cut off. Infinity: to its end. */
  readonly goneMs: number;
}

/** What is to be made. */
export interface JobRequest<Result> {
  /** What is made under the same key is the same. */
  readonly key: string;
  /** For messages: `the piece hashes of sha256:...`. */
  readonly what: string;
  /** Bytes that the work will read. */
  readonly size: number;
  readonly claimants: Claimants;
  /** What was made before. */
  readonly load: () => Promise<Result | undefined>;
  /** Makes it, once it is its turn. */
  readonly work: (job: Job<Result>, signal: AbortSignal) => Promise<Result>;
  /** Told of every failure but those that the end of the service causes. */
  readonly onFailed: (error: QuayctlError) => Promise<void> | void;
}

/** Work that runs or waits for its turn, for all who want its result. */
export class Job<Result> {
  /** Bytes that will have been read by the end. */
  readonly size: number;
  /** @throws QuayctlError */
  readonly done: Promise<Result>;
  readonly #presumedRate: number;
  readonly #secondsAhead: () => number;
  readonly #goneMs: number;
  #read = 0;
  #startedAt: number | undefined;
  readonly #hurried = Promise.withResolvers<void>();
  /** Requests that wait for it now. */
  #waiting = 0;
  /** Somebody may come back until then; milliseconds of performance.now(). */
  #wantedUntil: number;

  constructor(
    size: number,
    { presumedRate, goneMs }: JobsOptions,
    secondsAhead: () => number,
    run: (job: Job<Result>) => Promise<Result>,
  ) {
    this.size = size;
    this.#presumedRate = presumedRate;
    this.#goneMs = goneMs;
    this.#secondsAhead = secondsAhead;
    this.#wantedUntil = performance.now() + goneMs;
    this.done = run(this);
    // Those who wait see the failure; nobody has to.
    this.done.catch(() => undefined);
  }

  /** It does not wait for its turn any more. */
  get isBegun(): boolean {
    return this.#startedAt !== undefined;
  }

  /** Bytes read so far, of `size`. */
  get read(): number {
    return Math.min(this.size, this.#read);
  }

  /** Seconds until it is done, without those before it in the queue. */
  get ownSeconds(): number {
    const elapsed = this.#startedAt === undefined ? 0 : (performance.now() - this.#startedAt) / 1000;
    const rate = elapsed < MEASURABLE_SECONDS ? this.#presumedRate : Math.max(1, this.#read / elapsed);
    return (this.size - this.read) / rate;
  }

  /** Seconds until it is done, those before it in the queue included. */
  get etaSeconds(): number {
    return this.ownSeconds + this.#secondsAhead();
  }

  /** Nobody waits for it, and whoever did would have asked again by now. */
  get isAbandoned(): boolean {
    return this.#waiting === 0 && performance.now() > this.#wantedUntil;
  }

  /**
   * Somebody waits from now on.
   * @returns to be called when the wait is over: `told` where the client was told to ask again, `gone` where it has left
   */
  join(): (how: 'told' | 'gone') => void {
    this.#waiting++;
    return (how) => {
      this.#waiting--;
      const ms = how === 'told' ? Math.max(RETURN_MS, this.#goneMs) : this.#goneMs;
      this.#wantedUntil = Math.max(this.#wantedUntil, performance.now() + ms);
    };
  }

  /** Settles when the job need not wait for its turn. */
  get hurried(): Promise<void> {
    return this.#hurried.promise;
  }

  hurry(): void {
    this.#hurried.resolve();
  }

  /** The work begins, or begins anew. */
  begin(): void {
    this.#startedAt = performance.now();
    this.#read = 0;
  }

  advance(bytes: number): void {
    this.#read += bytes;
  }
}

/**
 * What is made once for all who ask for it. A job outlives the request that began it, and ends when nobody wants it any
 * more; sites take turns.
 */
export class Jobs<Result> {
  readonly #options: JobsOptions;
  readonly #running = new Map<string, Job<Result>>();
  /** Keys of jobs that did not wait for their turn. */
  readonly #hurried = new Set<string>();
  readonly #failures = new Map<string, { readonly error: QuayctlError; readonly until: number }>();
  readonly #closing = new AbortController();
  readonly #turns: Turns;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#turns = new Turns(options.limits);
  }

  /** Keys of jobs that run or wait. */
  get keys(): ReadonlySet<string> {
    return new Set(this.#running.keys());
  }

  /**
   * The result, or the job that makes it.
   * @throws QuayctlError `limit` where too many wait; what it failed with lately; what `load` throws
   */
  async get(request: JobRequest<Result>): Promise<Result | Job<Result>> {
    const { key } = request;
    const known = this.#running.get(key) ?? (await request.load());
    if (known !== undefined) return known;
    const failure = this.#failures.get(key);
    if (failure !== undefined && failure.until > Date.now()) throw failure.error;
    // Somebody may have begun while the disk was read.
    return this.#running.get(key) ?? this.#begin(request);
  }

  /** Jobs that run or wait, by their keys. */
  list(): [string, Job<Result>][] {
    return [...this.#running];
  }

  /** The job under that key, if it runs or waits. */
  running(key: string): Job<Result> | undefined {
    return this.#running.get(key);
  }

  /** Starts a job that waits for its turn, within a bound, because a client would do the same work by itself otherwise. */
  hurry(key: string): void {
    const job = this.#running.get(key);
    if (job === undefined || job.isBegun || this.#hurried.size >= MAX_HURRIED) return;
    this.#hurried.add(key);
    job.hurry();
  }

  /** Stops all work; what is on disk stays. */
  close(): void {
    this.#closing.abort(new QuayctlError('interrupted', 'the service ends'));
  }

  #begin(request: JobRequest<Result>): Job<Result> {
    const { key, size, claimants } = request;
    const place = this.#turns.enter(claimants);
    const before = [...this.#running];
    const secondsAhead = (): number =>
      before
        .filter(([each, job]) => this.#running.get(each) === job)
        .reduce((sum, [, job]) => sum + job.ownSeconds / this.#options.limits.atOnce, 0);
    const job = new Job<Result>(size, this.#options, secondsAhead, (each) =>
      this.#run(each, request, place.turn).finally(() => {
        place.release();
        this.#running.delete(key);
        this.#hurried.delete(key);
      }),
    );
    this.#running.set(key, job);
    return job;
  }

  async #run(
    job: Job<Result>,
    request: JobRequest<Result>,
    turn: (signal: AbortSignal) => Promise<void>,
  ): Promise<Result> {
    const abandoned = new AbortController();
    const timer = setInterval(() => {
      if (!job.isAbandoned) return;
      abandoned.abort(new QuayctlError('interrupted', `nobody waits for ${request.what} any more`));
    }, INTEREST_CHECK_MS).unref();
    const signal = AbortSignal.any([this.#closing.signal, abandoned.signal]);
    try {
      await turnOf(job, turn, signal);
      job.begin();
      return await request.work(job, signal);
    } catch (cause) {
      throw await this.#failed(request, signal.aborted ? signal.reason : cause);
    } finally {
      clearInterval(timer);
    }
  }

  async #failed({ key, what, onFailed }: JobRequest<Result>, cause: unknown): Promise<QuayctlError> {
    const error = isQuayctlError(cause)
      ? cause
      : new QuayctlError('unreachable', `${what} could not be made`, { cause });
    if (this.#closing.signal.aborted) return error;
    if (this.#options.lasting.includes(error.code)) {
      if (this.#failures.size >= MAX_FAILURES) this.#failures.clear();
      this.#failures.set(key, { error, until: Date.now() + this.#options.failureMs });
    }
    await onFailed(error);
    return error;
  }
}

/** Waits for the turn of a job, unless it is hurried; then its place in the queue is given up. */
async function turnOf(
  job: Job<unknown>,
  turn: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const leaveQueue = new AbortController();
  try {
    await Promise.race([turn(AbortSignal.any([signal, leaveQueue.signal])), job.hurried]);
  } finally {
    leaveQueue.abort();
  }
}
