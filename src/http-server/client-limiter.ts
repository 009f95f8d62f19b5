import { TokenBucket, type TokenBucketLimit } from '../base/token-bucket.ts';

/** Clients whose recent past is remembered; a client that comes back after that begins with a full bucket. */
const MAX_CLIENTS = 10_000;

/** Requests per second in the long run, and at once. */
export type ClientLimit = TokenBucketLimit;

/** How often each client may ask: a token bucket for each. */
export class ClientLimiter {
  readonly #limit: ClientLimit;
  /** The clients that asked last stand at the end. */
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(limit: ClientLimit) {
    this.#limit = limit;
  }

  /** @returns false where the client has asked too often */
  admit(client: string, now = performance.now()): boolean {
    const bucket = this.#buckets.get(client) ?? new TokenBucket(this.#limit);
    this.#buckets.delete(client);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size >= MAX_CLIENTS && oldest !== undefined) this.#buckets.delete(oldest);
    this.#buckets.set(client, bucket);
    return bucket.tryTake(1, now);
  }
}
