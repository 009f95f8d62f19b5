import { orAborted } from './abort.ts';

/** Lets a bounded number of tasks run at the same time; the others wait, first come, first served. */
export class Semaphore {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #running = 0;

  /** @param limit tasks at the same time, at least 1 */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Tasks that wait for their turn. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** @throws the signal's reason when it ends before the task began, and what the task throws */
  async run<Result>(task: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    await this.#enter(signal);
    try {
      return await task();
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#running < this.#limit) {
      this.#running++;
      return;
    }
    const turn = Promise.withResolvers<void>();
    this.#waiting.add(turn.resolve);
    try {
      await (signal === undefined ? turn.promise : orAborted(turn.promise, signal));
    } catch (error) {
      // The turn may have come in the same moment as the abort: it goes to the next in line.
      if (!this.#waiting.delete(turn.resolve)) this.#leave();
      throw error;
    }
  }

  /** The place of a task that ends goes to the first that waits, so that no later task can overtake it. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#running--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
