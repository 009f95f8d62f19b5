/** Where verified bytes came from, and what was received in vain. Bytes. */
export class TransferStats {
  fromPeers = 0;
  fromRegistry = 0;
  fromStorage = 0;
  wasted = 0;
  uploaded = 0;
  /** Blocks of peers, verified or not: what the rate is taken from. */
  receivedFromPeers = 0;

  /** Verified. */
  get bytes(): number {
    return this.fromPeers + this.fromRegistry + this.fromStorage;
  }

  verified(bytes: number, source: 'peers' | 'registry'): void {
    if (source === 'peers') this.fromPeers += bytes;
    else this.fromRegistry += bytes;
  }
}

/** Weight of the newest span in a rate, and the least length of a span in seconds. */
const WEIGHT = 0.4;
const SPAN_SECONDS = 0.5;

/** The rate of something that is counted elsewhere, as often as somebody looks. */
export class Rate {
  readonly #count: () => number;
  #before = 0;
  #at = performance.now();
  #perSecond = 0;

  constructor(count: () => number) {
    this.#count = count;
  }

  get perSecond(): number {
    const now = performance.now();
    const seconds = (now - this.#at) / 1000;
    if (seconds < SPAN_SECONDS) return this.#perSecond;
    const count = this.#count();
    // Long since anybody looked: what was before says nothing.
    const weight = Math.min(1, (WEIGHT * seconds) / SPAN_SECONDS);
    this.#perSecond += weight * ((count - this.#before) / seconds - this.#perSecond);
    this.#before = count;
    this.#at = now;
    return this.#perSecond;
  }
}
