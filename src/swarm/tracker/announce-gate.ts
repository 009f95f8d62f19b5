/** So many announces of one process are under way at once: a store of 1,000 seeds must not storm its tracker. */
const MOST_AT_ONCE = 16;

/** Lets announces through a few at a time, first come, first served. */
export class AnnounceGate {
  #running = 0;
  readonly #waiting = new Set<() => void>();

  /** @throws the signal's reason when it ends before the turn comes, and what `work` throws */
  async run<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      this.#running--;
      const [next] = this.#waiting;
      if (next !== undefined) {
        this.#waiting.delete(next);
        next();
      }
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running < MOST_AT_ONCE) {
      this.#running++;
      return;
    }
    const turn = Promise.withResolvers<void>();
    const go = (): void => {
      this.#running++;
      turn.resolve();
    };
    const leave = (): void => {
      this.#waiting.delete(go);
      turn.reject(signal.reason as Error);
    };
    this.#waiting.add(go);
    signal.addEventListener('abort', leave, { once: true });
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }
}
