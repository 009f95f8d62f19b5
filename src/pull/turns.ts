import type { Digest } from '../image/digest.ts';

/** The next blob begins while so much is left of those before it: the pipe never idles between two. */
const OVERLAP_BYTES = 16 * 1024 * 1024;
/** More at once only share the pipe in thinner slices. */
const MOST_AT_ONCE = 6;
/** When nothing has come for so long (a lock of another process, a service that hashes), the next one may begin. */
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
 * Whose turn it is. Blobs come one after the other, as far as the pipe lets them: an engine applies layers in order,
 * so that an early one that is complete is worth more than three that are under way. Small ones go side by side.
 */
export class Turns {
  readonly #running = new Map<Digest, Running>();
  readonly #waiting: Waiting[] = [];
  #movedAt = performance.now();
  readonly #ticker: NodeJS.Timeout;

  constructor() {
    this.#ticker = setInterval(() => this.#admit(), STALLED_MS / 4);
  }

  /** Resolves when this blob may begin; in the order of the calls. */
  async begin(digest: Digest, size: number): Promise<void> {
    await new Promise<void>((begin) => {
      this.#waiting.push({ digest, size, begin });
      this.#admit();
    });
  }

  /** @param received bytes of it that are here */
  moved(digest: Digest, received: number): void {
    const running = this.#running.get(digest);
    if (running === undefined || running.received === received) return;
    running.received = received;
    this.#movedAt = performance.now();
    this.#admit();
  }

  ended(digest: Digest): void {
    this.#running.delete(digest);
    this.#admit();
  }

  close(): void {
    clearInterval(this.#ticker);
    for (const { begin } of this.#waiting.splice(0)) begin();
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#running.set(next.digest, { size: next.size, received: 0 });
      this.#movedAt = performance.now();
      next.begin();
    }
  }

  #hasRoom(): boolean {
    if (this.#running.size >= MOST_AT_ONCE) return false;
    const stalled = performance.now() - this.#movedAt > STALLED_MS;
    return stalled || this.#left() < OVERLAP_BYTES;
  }

  #left(): number {
    return [...this.#running.values()].reduce((sum, { size, received }) => sum + size - received, 0);
  }
}
