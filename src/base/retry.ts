// The module as a whole: tests in virtual time put other timers into it.
import timers from 'node:timers/promises';

/** Waits. @throws the signal's reason */
export async function delay(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await timers.setTimeout(ms, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

export interface RetryOptions {
  /** Attempts in all. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
  /** Milliseconds that the other side asked for (Retry-After), `undefined` to use ours, `'stop'` to give up. */
  readonly verdict: (error: unknown) => number | 'stop' | undefined;
  readonly signal: AbortSignal;
}

/**
 * Exponential backoff with jitter (half of the delay is random, so that nodes which failed together do not come
 * back together). @throws what the last attempt threw, or the signal's reason
 */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    options.signal.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      options.signal.throwIfAborted();
      const verdict = options.verdict(error);
      if (verdict === 'stop' || attempt >= options.attempts) throw error;
      const backoff = Math.min(options.maxDelayMs, options.firstDelayMs * 2 ** (attempt - 1));
      await delay(verdict ?? backoff * (0.5 + Math.random() / 2), options.signal);
    }
  }
}
