import { orAborted } from './abort.ts';

/** One answer for all who want it at the same time, kept for those who come later. */
export class SingleFlight<Value> {
  #running: { readonly promise: Promise<Value>; readonly signal: AbortSignal } | undefined;

  /**
   * @param make starts the work. Its signal is that of the first caller; when that caller leaves, another starts anew
   * @param isFresh whether a kept value may still be used
   * @throws what `make` throws, for all who waited (nothing is kept of a failure); the caller's own signal's reason
   */
  async get(
    make: (signal: AbortSignal) => Promise<Value>,
    signal: AbortSignal,
    isFresh: (value: Value) => boolean = () => true,
  ): Promise<Value> {
    const running = this.#running;
    if (running !== undefined) {
      try {
        const value = await orAborted(running.promise, signal);
        if (isFresh(value)) return value;
      } catch (error) {
        signal.throwIfAborted();
        if (!running.signal.aborted) throw error;
      }
      if (this.#running !== running) return this.get(make, signal, isFresh);
    }
    const started = { promise: make(signal), signal };
    this.#running = started;
    started.promise.catch(() => {
      if (this.#running === started) this.#running = undefined;
    });
    return started.promise;
  }

  /** The next caller starts anew. */
  forget(): void {
    this.#running = undefined;
  }
}
