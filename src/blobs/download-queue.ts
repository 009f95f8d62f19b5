import { orAborted } from '../base/abort.ts';
import type { Digest } from '../image/digest.ts';

/**
 * The next download begins when those before it will end in so short a time, which it needs itself until its first
 * byte comes: the link never idles, and no more than necessary is taken from the layer that an engine waits for.
 * Seconds.
 */
const OVERLAP_SECONDS = 0.15;
/** Bounds of that in bytes, and what it is as long as nobody knows how fast bytes come. */
const LEAST_OVERLAP_BYTES = 4 * 1024 * 1024;
const FIRST_OVERLAP_BYTES = 8 * 1024 * 1024;
const MOST_OVERLAP_BYTES = 16 * 1024 * 1024;
/** Blobs below this begin as soon as it is their turn. */
const SMALL_BYTES = 1024 * 1024;
/** The rate is that of about this time. Milliseconds. */
const RATE_MS = 200;
/** Blobs that are downloaded at once. With more, each would only get a smaller share of the link. */
const MAX_RUNNING = 6;
/** When no byte has arrived for this long (another process holds the lock, a service hashes), the next one may begin. */
const STALLED_MS = 1_000;

interface Running {
  readonly size: number;
  received: number;
}

interface Waiting {
  readonly digest: Digest;
  readonly size: number;
  readonly begin: () => void;
}

/**
 * Decides when each download of this process may begin. Engines apply layers in order, so one early layer that is
 * complete is worth more than three that are under way: large blobs come one after the other, with a small overlap,
 * and small ones side by side.
 */
export class DownloadQueue {
  readonly #running = new Map<Digest, Running>();
  #waiting: Waiting[] = [];
  #movedAt = performance.now();
  /** Bytes a second, of all downloads together; undefined at first. */
  #rate: number | undefined;
  #sample = { at: performance.now(), bytes: 0 };
  #ticker: NodeJS.Timeout | undefined;

  /** When a byte came last, or a download began; milliseconds on the clock of performance.now. */
  get movedAt(): number {
    return this.#movedAt;
  }

  /** Resolves when this blob may begin, in the order of the calls. @throws the signal's reason */
  async begin(digest: Digest, size: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const turn = Promise.withResolvers<void>();
    const waiting = { digest, size, begin: turn.resolve };
    this.#waiting.push(waiting);
    this.#admit();
    try {
      await orAborted(turn.promise, signal);
    } catch (error) {
      this.#waiting = this.#waiting.filter((each) => each !== waiting);
      this.#running.delete(digest);
      this.#admit();
      throw error;
    }
  }

  /** Somebody waits for this blob's bytes: it is the next to begin. */
  hurry(digest: Digest): void {
    const at = this.#waiting.findIndex((each) => each.digest === digest);
    if (at > 0) this.#waiting.unshift(...this.#waiting.splice(at, 1));
  }

  /** @param received bytes of it that are on this disk */
  moved(digest: Digest, received: number): void {
    const running = this.#running.get(digest);
    if (running === undefined || running.received === received) return;
    this.#measure(received - running.received);
    running.received = received;
    this.#movedAt = performance.now();
    this.#admit();
  }

  ended(digest: Digest): void {
    this.#running.delete(digest);
    this.#admit();
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#running.set(next.digest, { size: next.size, received: 0 });
      this.#movedAt = performance.now();
      next.begin();
    }
    if (this.#waiting.length > 0) this.#ticker ??= setInterval(() => this.#admit(), STALLED_MS / 4);
    else {
      clearInterval(this.#ticker);
      this.#ticker = undefined;
    }
  }

  #hasRoom({ size }: Waiting): boolean {
    if (this.#running.size >= MAX_RUNNING) return false;
    // It takes nothing that counts from the others, and waits for its first byte as long as they do.
    if (size < SMALL_BYTES) return true;
    const stalled = performance.now() - this.#movedAt > STALLED_MS;
    return stalled || this.#left() < this.#overlap();
  }

  #overlap(): number {
    if (this.#rate === undefined) return FIRST_OVERLAP_BYTES;
    return Math.min(Math.max(this.#rate * OVERLAP_SECONDS, LEAST_OVERLAP_BYTES), MOST_OVERLAP_BYTES);
  }

  #measure(bytes: number): void {
    const now = performance.now();
    const ms = now - this.#sample.at;
    this.#sample.bytes += Math.max(0, bytes);
    if (ms < RATE_MS) return;
    this.#rate = (this.#sample.bytes / ms) * 1000;
    this.#sample = { at: now, bytes: 0 };
  }

  #left(): number {
    return [...this.#running.values()].reduce((sum, { size, received }) => sum + size - received, 0);
  }
}
