/** One answer for all who want it at the same time, kept for those who come later. */
export class SingleFlight<Value> {
  #running: { readonly promise: Promise<Value>; readonly signal: AbortSignal } | undefined;

  /**
   * @param make starts the work; its signal is that of whoever came first. When that one leaves, another starts anew
   * @param isFresh whether a kept value still serves
   * @throws what `make` throws, for all who waited; nothing is kept of a failure
   */
  async get(
    make: (signal: AbortSignal) => Promise<Value>,
    signal: AbortSignal,
    isFresh: (value: Value) => boolean = () => true,
  ): Promise<Value> {
    const running = this.#running;
    if (running !== undefined) {
      try {
        const value = await running.promise;
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

  forget(): void {
    this.#running = undefined;
  }
}
