import type { ImageManifest } from '../../image/manifest.ts';
import type { DerivedFile } from './derived-store.ts';

/** An image's blobs are read from the upstream, for their headers, and for their content. */
const READINGS = 3;
/** Whoever was told that it is not done asks again at least every 60 seconds. */
const RETURN_MS = 90_000;
/** Whoever has left may have been cut off, and come back at once. */
const GONE_MS = 5_000;
/** Until there is a rate to measure: what one core reads, merges and compresses, of blobs. Bytes per second. */
const PRESUMED_RATE = 30_000_000;
/** Below this a measured rate says more about the first packets than about the work. */
const MEASURABLE_SECONDS = 0.5;

/** The work on one derived image, for all who wait for it. */
export class Derivation {
  /** Of the image's blobs. */
  readonly blobBytes: number;
  /** Bytes that will have been read by the end, of blobs. */
  readonly size: number;
  /** @throws QuayctlError */
  readonly done: Promise<DerivedFile>;
  readonly #ahead: readonly Derivation[];
  #read = 0;
  #startedAt: number | undefined;
  /** Requests that wait for it now. */
  #waiting = 0;
  /** Milliseconds on the clock of performance.now: somebody may come back until then. */
  #wantedUntil = performance.now() + GONE_MS;
  #isOver = false;

  constructor(
    { config, layers }: ImageManifest,
    ahead: readonly Derivation[],
    run: (derivation: Derivation) => Promise<DerivedFile>,
  ) {
    const layerBytes = layers.reduce((sum, { size }) => sum + size, 0);
    this.blobBytes = config.size + layerBytes;
    this.size = config.size + READINGS * layerBytes;
    this.#ahead = ahead;
    this.done = run(this).finally(() => (this.#isOver = true));
    // Those who wait see the failure; nobody has to.
    this.done.catch(() => undefined);
  }

  /**
   * Somebody waits from now on.
   * @returns to be called when he no longer does: `told` where he was told to ask again, `gone` where he has left
   */
  join(): (how: 'told' | 'gone') => void {
    this.#waiting++;
    return (how) => {
      this.#waiting--;
      const until = performance.now() + (how === 'told' ? RETURN_MS : GONE_MS);
      this.#wantedUntil = Math.max(this.#wantedUntil, until);
    };
  }

  /** Nobody waits for it, and whoever did would have asked again by now. */
  get isAbandoned(): boolean {
    return this.#waiting === 0 && performance.now() > this.#wantedUntil;
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
