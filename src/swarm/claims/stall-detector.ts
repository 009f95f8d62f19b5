/** Without a new piece for so long, while nothing else is known, more nodes fetch; then for twice as long, ... Milliseconds. */
const UNKNOWN_MS = 5000;
/** More doublings reach any swarm. */
const MOST = 12;

/** How often the work of a swarm has stood still, as this node sees it: each time more nodes fetch. */
export class StallDetector {
  #count = 0;
  #newsAt: number;

  constructor(now: number) {
    this.#newsAt = now;
  }

  get count(): number {
    return this.#count;
  }

  /** A piece came that nobody had, or there is nothing that it could be waited for. */
  news(now: number): void {
    this.#newsAt = now;
  }

  /** @param patience after which a claim is late, milliseconds; undefined: not known yet */
  look(now: number, patience: number | undefined): void {
    if (now - this.#newsAt < (patience ?? UNKNOWN_MS * 2 ** this.#count) || this.#count >= MOST) return;
    this.#count++;
    this.#newsAt = now;
  }
}
