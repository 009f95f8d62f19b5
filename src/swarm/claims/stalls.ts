/** A piece that one peer alone has for this long, or twice what a late claim takes, does not spread. Milliseconds. */
const STUCK_MS = 3000;
/** Without a new piece for this long, while nothing else is known, more nodes fetch; then twice as long, ... Milliseconds. */
const UNKNOWN_MS = 5000;
/** More doublings than this reach any swarm. */
const MOST = 12;

/** Whether what one peer has comes to the others. */
export class SoleHolder {
  /** Piece -> since when a peer has it, milliseconds. */
  readonly #since = new Map<number, number>();

  /** The first peer has the piece. */
  begins(index: number, now: number): void {
    this.#since.set(index, now);
  }

  /**
   * A peer that alone has the piece for long and gives it to nobody has a slow link: it does not count as a holder.
   * @param holders connected peers that have it
   * @param lateMs after which a claim is late, milliseconds
   */
  isHeld(index: number, holders: number, now: number, lateMs: number): boolean {
    if (holders !== 1) return holders > 0;
    const since = this.#since.get(index);
    return since === undefined || now - since < Math.max(STUCK_MS, 2 * lateMs);
  }
}

/** How often the work of a swarm has stalled, as this node sees it: each time more nodes fetch. */
export class StallDetector {
  #count = 0;
  #newsAt: number;

  constructor(now: number) {
    this.#newsAt = now;
  }

  get count(): number {
    return this.#count;
  }

  /** A piece came that no peer had, or there is nothing to wait for. */
  news(now: number): void {
    this.#newsAt = now;
  }

  /** @param lateMs after which a claim is late, milliseconds; undefined: not known yet */
  look(now: number, lateMs: number | undefined): void {
    if (now - this.#newsAt < (lateMs ?? UNKNOWN_MS * 2 ** this.#count) || this.#count >= MOST) return;
    this.#count++;
    this.#newsAt = now;
  }
}
