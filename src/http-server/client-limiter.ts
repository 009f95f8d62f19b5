/** Clients whose recent past is remembered; whoever comes back after that begins anew. */
const MAX_CLIENTS = 10_000;

export interface ClientLimit {
  /** How often a client may ask in the long run. */
  readonly perSecond: number;
  /** How often at once. */
  readonly burst: number;
}

/** How often each client may ask: a bucket that fills evenly, for each. */
export class ClientLimiter {
  readonly #limit: ClientLimit;
  /** Those who asked last at the end. `at` in milliseconds. */
  readonly #buckets = new Map<string, { readonly left: number; readonly at: number }>();

  constructor(limit: ClientLimit) {
    this.#limit = limit;
  }

  /** @returns false where the client has asked too often */
  admit(client: string, now = performance.now()): boolean {
    const { perSecond, burst } = this.#limit;
    const before = this.#buckets.get(client) ?? { left: burst, at: now };
    const filled = Math.min(burst, before.left + ((now - before.at) / 1000) * perSecond);
    const isAdmitted = filled >= 1;
    this.#buckets.delete(client);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size >= MAX_CLIENTS && oldest !== undefined) this.#buckets.delete(oldest);
    this.#buckets.set(client, { left: isAdmitted ? filled - 1 : filled, at: now });
    return isAdmitted;
  }
}
