/** A client that speaks no TLS today may be replaced by a node that does. Milliseconds. */
const REMEMBERED_MS = 60 * 60_000;
/** Addresses that are remembered; the oldest go first. */
const MAX_ADDRESSES = 5000;

/** Addresses at which somebody answers who does not speak TLS: BitTorrent clients that are no nodes of quayctl. */
export class ThirdParties {
  readonly #until = new Map<string, number>();

  /** @param now milliseconds on the clock of performance.now */
  has(address: string, now: number): boolean {
    return (this.#until.get(address) ?? -Infinity) > now;
  }

  add(address: string, now: number): void {
    const [oldest] = this.#until.keys();
    if (this.#until.size >= MAX_ADDRESSES && oldest !== undefined) this.#until.delete(oldest);
    this.#until.delete(address);
    this.#until.set(address, now + REMEMBERED_MS);
  }
}
