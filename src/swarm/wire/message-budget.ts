/** More than any client sends besides requests, also one that names each of its pieces; a second, and at once. */
const PER_SECOND = 2000;
const BURST = 10_000;

/** How many messages one peer may make us think about: a token bucket. */
export class MessageBudget {
  #left = BURST;
  #at = performance.now();

  /** @returns false: it sends more than a client would */
  spend(): boolean {
    const now = performance.now();
    this.#left = Math.min(BURST, this.#left + ((now - this.#at) / 1000) * PER_SECOND);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
