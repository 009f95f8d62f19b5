/** What came since the last look, and what peers have and this node lacks. Bytes, milliseconds. */
export interface Progress {
  readonly ms: number;
  readonly fromPeers: number;
  readonly fromRegistry: number;
  readonly backlog: number;
  /** This node is one of those that fetch. */
  readonly fetcher: boolean;
}

/** A backlog that peers would need less time for is left to them, whatever the registry could do. */
const PATIENCE_MS = 20_000;
/**
 * Peers alone are watched for so long before the registry is tried, longer by the many that do not fetch; and both for
 * so long before the verdict.
 */
const WATCH_MS = 4000;
const WATCH_LONG_MS = 20_000;
const TRY_MS = 2000;
/** Peers are clearly slower when so many times as much comes with the registry. */
const CLEARLY_FASTER = 2;
/** After a try that was of no use. */
const REST_MS = 60_000;
/** A verdict for the registry holds so long; then peers alone are watched again. */
const TRUST_MS = 60_000;
/** Weight of the newest look in a rate. */
const NEWEST = 0.2;

/**
 * Whether peers are clearly slower than the registry at what they have. The registry is tried where they would need
 * long; it is asked on if much more comes in all. Behind a slow link it does not: the registry's part is then missing
 * from what peers bring.
 */
export class SlowPeers {
  #watchedMs = 0;
  #triedMs = 0;
  #restMs = 0;
  #failures = 0;
  #watchMs = WATCH_LONG_MS;
  /** Bytes per millisecond: of peers alone, and of all with the registry. */
  #alone = 0;
  #together = 0;
  #backlog = 0;

  /** What the registry is good for is not known yet. */
  get isTrying(): boolean {
    return this.#triedMs < TRY_MS;
  }

  get areSlow(): boolean {
    return this.#judge();
  }

  #judge(): boolean {
    if (this.#restMs > 0 || this.#watchedMs < this.#watchMs) return false;
    if (this.#backlog < PATIENCE_MS * this.#alone) return false;
    return this.isTrying || this.#together > CLEARLY_FASTER * this.#alone;
  }

  observe({ ms, fromPeers, fromRegistry, backlog, fetcher }: Progress): void {
    const wereSlow = this.#judge();
    if (!wereSlow) this.#watchMs = fetcher ? WATCH_MS : WATCH_LONG_MS;
    this.#backlog = backlog;
    this.#restMs = Math.max(0, this.#restMs - ms);
    const rate = (fromPeers + fromRegistry) / ms;
    if (backlog === 0) this.#watchedMs = 0;
    else if (!wereSlow && fromRegistry > 0) this.#watchedMs = 0;
    else if (!wereSlow) {
      this.#alone = mean(this.#alone, rate, this.#watchedMs);
      this.#watchedMs += ms;
    } else if (fromRegistry > 0) {
      this.#together = mean(this.#together, rate, this.#triedMs);
      this.#triedMs += ms;
    }
    if (!wereSlow) return;
    const areSlow = this.#judge();
    if (areSlow && this.#triedMs < TRUST_MS) return;
    if (!areSlow) this.#restMs = REST_MS * 2 ** this.#failures++;
    this.#watchedMs = 0;
    this.#triedMs = 0;
  }
}

/** Of the whole time at first, then of the newest. */
function mean(before: number, rate: number, ms: number): number {
  return ms === 0 ? rate : before + NEWEST * (rate - before);
}
