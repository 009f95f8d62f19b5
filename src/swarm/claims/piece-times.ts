/** Weights of a new sample (RFC 6298, 2.3). */
const MEAN_WEIGHT = 1 / 8;
const DEVIATION_WEIGHT = 1 / 4;
const DEVIATIONS = 4;
/** Nothing known yet: a slow gateway that many share needs so long for its first pieces. Milliseconds. */
const UNKNOWN_MS = 15_000;
/** Pieces come in bursts, and news of them takes a while. Milliseconds. */
const SHORTEST_MS = 1500;
const LONGEST_MS = 120_000;
/** The first pieces come through an empty pipe. */
const TELLING_COUNT = 16;

/**
 * How long a piece takes from its claim to its last byte, as seen on claims of all peers and on this node's own: the
 * estimator that TCP uses for its retransmissions (RFC 6298). Milliseconds.
 */
export class PieceTimes {
  #mean: number | undefined;
  #deviation = 0;
  #count = 0;

  get mean(): number | undefined {
    return this.#mean;
  }

  /** The mean, when it has seen enough to tell how busy the registry is. */
  get pace(): number | undefined {
    return this.#count < TELLING_COUNT ? undefined : this.#mean;
  }

  /** A claim that takes longer than this is late, milliseconds. */
  get lateMs(): number {
    if (this.#mean === undefined) return UNKNOWN_MS;
    return Math.min(Math.max(this.#mean + DEVIATIONS * this.#deviation, SHORTEST_MS), LONGEST_MS);
  }

  observe(ms: number): void {
    this.#count++;
    if (this.#mean === undefined) {
      this.#mean = ms;
      this.#deviation = ms / 2;
      return;
    }
    this.#deviation += DEVIATION_WEIGHT * (Math.abs(ms - this.#mean) - this.#deviation);
    this.#mean += MEAN_WEIGHT * (ms - this.#mean);
  }
}
