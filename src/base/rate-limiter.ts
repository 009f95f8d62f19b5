import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes per second shared by everybody who takes from it. */
export interface RateLimiter {
  /** 0: unlimited. */
  readonly bytesPerSecond: number;
  /**
   * Waits for its turn, first come, first served. More bytes than a burst are let through at once; those who come
   * after pay for them.
   * @throws the signal's reason
   */
  take(bytes: number, signal?: AbortSignal): Promise<void>;
}

/** What may pass at once after a pause, seconds of the rate: long enough that timers of 1 ms do not slow it. */
const BURST_SECONDS = 0.1;

/**
 * A token bucket (kept as the time at which it is next in balance, so that it needs no queue and no ticking clock).
 * @param bytesPerSecond 0 for unlimited
 */
export function createRateLimiter(bytesPerSecond: number): RateLimiter {
  return bytesPerSecond > 0 ? new TokenBucket(bytesPerSecond) : UNLIMITED;
}

const UNLIMITED: RateLimiter = {
  bytesPerSecond: 0,
  take: (_bytes, signal) =>
    signal?.aborted === true ? Promise.reject(signal.reason as Error) : Promise.resolve(),
};

class TokenBucket implements RateLimiter {
  readonly bytesPerSecond: number;
  /** Milliseconds of performance.now(): when all that was taken will have been earned. */
  #inBalanceAt = -Infinity;

  constructor(bytesPerSecond: number) {
    this.bytesPerSecond = bytesPerSecond;
  }

  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const now = performance.now();
    const cost = (bytes / this.bytesPerSecond) * 1000;
    const turn = Math.max(this.#inBalanceAt, now - BURST_SECONDS * 1000);
    this.#inBalanceAt = turn + cost;
    if (turn <= now) return;
    try {
      await sleep(turn - now, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      this.#inBalanceAt -= cost;
      throw signal?.aborted === true ? signal.reason : error;
    }
  }
}
