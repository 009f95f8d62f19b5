/** A piece that one peer alone has for so long, or twice what a late claim takes, does not spread. Milliseconds. */
const STUCK_MS = 3000;

/** Whether what somebody has comes to the others. */
export class SoleHolder {
  /** Piece -> since when somebody has it. */
  readonly #since = new Map<number, number>();

  /** The first peer has it. */
  begins(index: number, now: number): void {
    this.#since.set(index, now);
  }

  /**
   * One alone that has it for long and gives it to nobody has a slow link: as if it had it not.
   * @param holders connected peers that have it
   * @param patience after which a claim is late, milliseconds
   */
  isHeld(index: number, holders: number, now: number, patience: number): boolean {
    if (holders !== 1) return holders > 0;
    const since = this.#since.get(index);
    return since === undefined || now - since < Math.max(STUCK_MS, 2 * patience);
  }
}
