import { TokenBucket } from './token-bucket.ts';

/** A transfer rate that is shared by all who take from it (`--download-rate`, `--upload-rate`). */
export interface RateLimiter {
  /** 0: unlimited. */
  readonly bytesPerSecond: number;
  /** Waits until `bytes` more bytes may pass; callers are served in order. @throws the signal's reason */
  take(bytes: number, signal?: AbortSignal): Promise<void>;
  /** The same, behind all who `take` meanwhile; not for longer than the other side of a connection waits. */
  takeLast(bytes: number, signal?: AbortSignal): Promise<void>;
}

/** How much may pass at once after a pause, in seconds of the rate. Shorter bursts would be slowed by timers of 1 ms. */
const BURST_SECONDS = 0.1;

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
