/** Weight of the newest span in a rate, and the least length of a span in seconds. */
const WEIGHT = 0.4;
const SPAN_SECONDS = 0.5;

/** The rate of something that is counted elsewhere, smoothed over about a second, as often as somebody looks. */
export class Rate {
  readonly #count: () => number;
  #before: number;
  #at = performance.now();
  #perSecond = 0;

  constructor(count: () => number) {
    this.#count = count;
    this.#before = count();
  }

  /** Units of the count per second; 0 where the count went down. */
  get perSecond(): number {
    const now = performance.now();
    const seconds = (now - this.#at) / 1000;
    if (seconds < SPAN_SECONDS) return this.#perSecond;
    const count = this.#count();
    // After a long time without a look, what was before says nothing.
    const weight = Math.min(1, (WEIGHT * seconds) / SPAN_SECONDS);
    this.#perSecond += weight * (Math.max(0, count - this.#before) / seconds - this.#perSecond);
    this.#before = count;
    this.#at = now;
    return this.#perSecond;
  }
}
