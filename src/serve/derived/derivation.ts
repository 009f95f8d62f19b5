import type { ImageManifest } from '../../image/manifest.ts';
import type { DerivedFile } from './derived-store.ts';

/** An image's blobs are read from the upstream, for their headers, and for their content. */
const READINGS = 3;
/** Until there is a rate to measure: what one core reads, merges and compresses, of blobs. Bytes per second. */
const PRESUMED_RATE = 30_000_000;
/** Below this a measured rate says more about the first packets than about the work. */
const MEASURABLE_SECONDS = 0.5;

/** The work on one derived image, for all who wait for it. */
export class Derivation {
  /** Bytes that will have been read by the end, of blobs. */
  readonly size: number;
  /** @throws QuayctlError */
  readonly done: Promise<DerivedFile>;
  readonly #ahead: readonly Derivation[];
  #read = 0;
  #startedAt: number | undefined;
  #askedAt = performance.now();
  #ridesOnCaller = false;
  #isOver = false;

  constructor(
    { config, layers }: ImageManifest,
    ahead: readonly Derivation[],
    run: (derivation: Derivation) => Promise<DerivedFile>,
  ) {
    this.size = config.size + READINGS * layers.reduce((sum, { size }) => sum + size, 0);
    this.#ahead = ahead;
    this.done = run(this).finally(() => (this.#isOver = true));
    // Those who wait see the failure; nobody has to.
    this.done.catch(() => undefined);
  }

  /** Somebody has asked. */
  asked(): this {
    this.#askedAt = performance.now();
    return this;
  }

  /** Milliseconds since anybody asked. */
  get idleMs(): number {
    return performance.now() - this.#askedAt;
  }

  /** Blobs have to be read with what a caller showed. */
  get ridesOnCaller(): boolean {
    return this.#ridesOnCaller;
  }

  rideOnCaller(): void {
    this.#ridesOnCaller = true;
  }

  advance(bytes: number): void {
    this.#startedAt ??= performance.now();
    this.#read += bytes;
  }

  /** Bytes read so far, of `size`. */
  get read(): number {
    return Math.min(this.size, this.#read);
  }

  /** Seconds until it is done, those before it in the queue included. */
  etaSeconds(): number {
    const queued = this.#ahead.filter((other) => !other.#isOver);
    return queued.reduce((sum, other) => sum + other.#ownEta(), this.#ownEta());
  }

  #ownEta(): number {
    const elapsed = this.#startedAt === undefined ? 0 : (performance.now() - this.#startedAt) / 1000;
    const rate = elapsed < MEASURABLE_SECONDS ? PRESUMED_RATE : Math.max(1, this.#read / elapsed);
    return (this.size - this.read) / rate;
  }
}
