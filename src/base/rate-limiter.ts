import type { RateTimetable } from './rate-timetable.ts';
import { TokenBucket } from './token-bucket.ts';

/** A transfer rate that is shared by all who take from it (`--download-rate`, `--upload-rate`). */
export interface RateLimiter {
  /** As it is now; 0: unlimited. */
  readonly bytesPerSecond: number;
  /** Waits until `bytes` more bytes may pass; callers are served in order. @throws the signal's reason */
  take(bytes: number, signal?: AbortSignal): Promise<void>;
  /** The same, behind all who `take` meanwhile; not for longer than the other side of a connection waits. */
  takeLast(bytes: number, signal?: AbortSignal): Promise<void>;
}

/** How much may pass at once after a pause, in seconds of the rate. Shorter bursts would be slowed by timers of 1 ms. */
const BURST_SECONDS = 0.1;
/** The timetable is looked at so often. Milliseconds. */
const LOOK_MS = 1000;

/** Who lets others go first does so for this long. Milliseconds. */
const POLITE_MS = 5000;

const free = (_bytes: number, signal?: AbortSignal): Promise<void> =>
  signal?.aborted === true ? Promise.reject(signal.reason as Error) : Promise.resolve();

const UNLIMITED: RateLimiter = { bytesPerSecond: 0, take: free, takeLast: free };

/** @param bytesPerSecond 0 for unlimited */
export function createRateLimiter(bytesPerSecond: number): RateLimiter {
  if (bytesPerSecond <= 0) return UNLIMITED;
  const bucket = new TokenBucket({ perSecond: bytesPerSecond, burst: bytesPerSecond * BURST_SECONDS });
  return {
    bytesPerSecond,
    take: (bytes, signal) => bucket.take(bytes, signal),
    takeLast: (bytes, signal) => bucket.takeLast(bytes, POLITE_MS, signal),
  };
}

/**
 * A limiter whose rate is that of the hour. Who waits when it changes waits by the old rate, everybody after by the new.
 * @param now the wall clock; tests have their own
 */
export function createTimetableLimiter(
  timetable: RateTimetable,
  now: () => Date = () => new Date(),
): RateLimiter {
  let current = createRateLimiter(timetable.at(now()));
  let lookedAt = performance.now();
  const look = (): RateLimiter => {
    if (performance.now() - lookedAt < LOOK_MS) return current;
    lookedAt = performance.now();
    const rate = timetable.at(now());
    if (rate !== current.bytesPerSecond) current = createRateLimiter(rate);
    return current;
  };
  return {
    get bytesPerSecond() {
      return look().bytesPerSecond;
    },
    take: (bytes, signal) => look().take(bytes, signal),
    takeLast: (bytes, signal) => look().takeLast(bytes, signal),
  };
}
