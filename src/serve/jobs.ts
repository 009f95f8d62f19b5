import { isQuayctlError, QuayctlError, type ErrorCode } from '../base/errors.ts';
import { Semaphore } from '../base/semaphore.ts';

/** Whoever waits asks again at least every 60 seconds; work with a caller's credential ends when nobody does. */
const INTEREST_MS = 90_000;
const INTEREST_CHECK_MS = 5000;
const MAX_FAILURES = 1000;
/** Below this a measured rate says more about the first packets than about the work. */
const MEASURABLE_SECONDS = 0.2;

export interface JobsOptions {
  /** Jobs that run at the same time; the others wait in order. */
  readonly atOnce: number;
  /** Of all that run and wait. */
  readonly max: number;
  /** Bytes per second that a job is assumed to read until its own rate is known. */
  readonly presumedRate: number;
  /** For messages: `blobs wait to be hashed`. */
  readonly what: string;
  /** Failures with these codes would only repeat themselves: they are remembered for `failureMs`. */
  readonly lasting: readonly ErrorCode[];
  readonly failureMs: number;
}

/** Work that is under way, for all who wait for it. */
export class Job<Result> {
  /** Bytes that will have been read by the end. */
  readonly size: number;
  /** @throws QuayctlError */
  readonly done: Promise<Result>;
  readonly #presumedRate: number;
  #read = 0;
  #startedAt: number | undefined;
  #askedAt = performance.now();
  #ridesOnCaller = false;
  /** Bytes of the jobs before it count for less where several run at once. */
  readonly #secondsAhead: () => number;

  constructor(
    size: number,
    presumedRate: number,
    secondsAhead: () => number,
    run: (job: Job<Result>) => Promise<Result>,
  ) {
    this.size = size;
    this.#presumedRate = presumedRate;
    this.#secondsAhead = secondsAhead;
    this.done = run(this);
    // Those who wait see the failure; nobody has to.
    this.done.catch(() => undefined);
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

  /** It reads with what a caller showed, and nobody has asked for a while. */
  get isAbandoned(): boolean {
    return this.#ridesOnCaller && performance.now() - this.#askedAt > INTEREST_MS;
  }

  /** Somebody has asked. */
  asked(): this {
    this.#askedAt = performance.now();
    return this;
  }

  /** It is its turn. */
  begin(): void {
    this.#startedAt = performance.now();
  }

  advance(bytes: number): void {
    this.#read += bytes;
  }

  /** From now on it reads with what a caller showed, so it only goes on while somebody asks. */
  rideOnCaller(): void {
    this.#ridesOnCaller = true;
  }
}

/** What is made once for all who ask for it, in a bounded queue. A job outlives the request that began it. */
export class Jobs<Result> {
  readonly #options: JobsOptions;
  readonly #running = new Map<string, Job<Result>>();
  readonly #failures = new Map<string, { readonly error: QuayctlError; readonly until: number }>();
  readonly #closing = new AbortController();
  readonly #semaphore: Semaphore;

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#semaphore = new Semaphore(options.atOnce);
  }

  /** Keys of jobs that run or wait. */
  get keys(): ReadonlySet<string> {
    return new Set(this.#running.keys());
  }

  get isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  /**
   * The result, or the job that makes it.
   * @param load what was made before
   * @param size bytes that the job will read
   * @param work does it, once it is its turn
   * @throws QuayctlError `limit` where too many wait; what it failed with lately; what `load` throws
   */
  async get(
    key: string,
    load: () => Promise<Result | undefined>,
    size: number,
    work: (job: Job<Result>, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result | Job<Result>> {
    const known = this.#running.get(key)?.asked() ?? (await load());
    if (known !== undefined) return known;
    const failure = this.#failures.get(key);
    if (failure !== undefined && failure.until > Date.now()) throw failure.error;
    // Somebody may have begun while the disk was read.
    return this.#running.get(key)?.asked() ?? this.#begin(key, size, work);
  }

  /** Stops all work; what is on disk stays. */
  close(): void {
    this.#closing.abort(new QuayctlError('interrupted', 'the service ends'));
  }

  #begin(
    key: string,
    size: number,
    work: (job: Job<Result>, signal: AbortSignal) => Promise<Result>,
  ): Job<Result> {
    const { max, what, atOnce, presumedRate } = this.#options;
    if (this.#running.size >= max) throw new QuayctlError('limit', `more than ${max} ${what}`);
    const before = [...this.#running];
    const secondsAhead = (): number =>
      before
        .filter(([each, job]) => this.#running.get(each) === job)
        .reduce((sum, [, job]) => sum + job.ownSeconds / atOnce, 0);
    const job = new Job<Result>(size, presumedRate, secondsAhead, async (each) => {
      try {
        return await this.#semaphore.run(() => this.#run(each, work), this.#closing.signal);
      } catch (error) {
        this.#remember(key, error);
        throw error;
      } finally {
        this.#running.delete(key);
      }
    });
    this.#running.set(key, job);
    return job;
  }

  async #run(
    job: Job<Result>,
    work: (job: Job<Result>, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    job.begin();
    const abandoned = new AbortController();
    const timer = setInterval(() => {
      if (job.isAbandoned) abandoned.abort(new QuayctlError('interrupted', 'nobody waits for it'));
    }, INTEREST_CHECK_MS).unref();
    try {
      return await work(job, AbortSignal.any([this.#closing.signal, abandoned.signal]));
    } finally {
      clearInterval(timer);
    }
  }

  #remember(key: string, error: unknown): void {
    const { lasting, failureMs } = this.#options;
    if (this.isClosing || !isQuayctlError(error) || !lasting.includes(error.code)) return;
    if (this.#failures.size >= MAX_FAILURES) this.#failures.clear();
    this.#failures.set(key, { error, until: Date.now() + failureMs });
  }
}
