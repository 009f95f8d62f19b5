/** Bytes, and the milliseconds in which they came. */
export interface Delivered {
  readonly bytes: number;
  readonly ms: number;
}

/** How much comes while something comes: the time before the first byte of a request, and between requests, does not count. */
export class DeliveryMeter {
  #flows = 0;
  #bytes = 0;
  #ms = 0;
  #since = 0;

  /** The first bytes of a request are here: what comes from now on is counted. @param now milliseconds */
  begins(now: number): void {
    if (this.#flows++ === 0) this.#since = now;
  }

  came(bytes: number): void {
    this.#bytes += bytes;
  }

  /** A request that had begun is over. */
  ends(now: number): void {
    if (--this.#flows === 0) this.#ms += now - this.#since;
  }

  total(now: number): Delivered {
    return { bytes: this.#bytes, ms: this.#ms + (this.#flows > 0 ? now - this.#since : 0) };
  }
}
