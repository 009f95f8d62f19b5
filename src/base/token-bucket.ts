import { setTimeout as sleep } from 'node:timers/promises';

export interface TokenBucketLimit {
  /** Tokens per second in the long run, greater than 0. */
  readonly perSecond: number;
  /** Tokens that may be taken at once after a pause. */
  readonly burst: number;
}

/**
 * A token bucket. It needs neither a queue nor a clock that ticks: only the moment is kept at which everything that was
 * taken will have been paid for (the "generic cell rate algorithm").
 */
export class TokenBucket {
  readonly #msPerToken: number;
  readonly #burstMs: number;
  /** Milliseconds on the caller's clock. */
  #paidAt = -Infinity;

  constructor({ perSecond, burst }: TokenBucketLimit) {
    this.#msPerToken = 1000 / perSecond;
    this.#burstMs = burst * this.#msPerToken;
  }

  /**
   * Takes tokens if that many are there.
   * @param now milliseconds, of the same clock in every call
   * @returns false when there are fewer; then none is taken
   */
  tryTake(tokens = 1, now = performance.now()): boolean {
    const paidAt = Math.max(this.#paidAt, now - this.#burstMs) + tokens * this.#msPerToken;
    // Sums of fractions of a millisecond must not cost a token.
    if (paidAt > now + 1e-6) return false;
    this.#paidAt = paidAt;
    return true;
  }

  /**
   * Waits for its turn and takes tokens, first come, first served. More than a burst may be taken at once; those who
   * come after wait until it is paid for.
   * @throws the signal's reason; then nothing is taken
   */
  async take(tokens: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const now = performance.now();
    const costMs = tokens * this.#msPerToken;
    const turn = Math.max(this.#paidAt, now - this.#burstMs);
    this.#paidAt = turn + costMs;
    if (turn <= now) return;
    try {
      await sleep(turn - now, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      this.#paidAt -= costMs;
      throw signal?.aborted === true ? signal.reason : error;
    }
  }

  /**
   * The same for those who let others go first: waits until nobody else does, for `politeMs` at most.
   * @throws the signal's reason; then nothing is taken
   */
  async takeLast(tokens: number, politeMs: number, signal?: AbortSignal): Promise<void> {
    const last = performance.now() + politeMs;
    for (;;) {
      const now = performance.now();
      const queue = Math.min(this.#paidAt, last) - now;
      if (queue <= 0) return this.take(tokens, signal);
      await sleep(queue, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
        throw signal?.aborted === true ? signal.reason : error;
      });
    }
  }
}
