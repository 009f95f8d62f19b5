import { orAborted } from '../base/abort.ts';
import { SpanSet } from './spans.ts';

interface Waiter {
  readonly offset: number;
  readonly resolve: (end: number) => void;
  readonly reject: (reason: unknown) => void;
}

/** The bytes of a blob on its way that may be given out, and the readers that wait for more of them. */
export class AwaitedSpans {
  readonly #spans = new SpanSet();
  readonly #waiters = new Set<Waiter>();
  #closed: { readonly reason: unknown } | undefined;

  add(start: number, end: number): void {
    this.#spans.add(start, end);
    for (const waiter of this.#waiters) {
      const run = this.#spans.endOfRun(waiter.offset);
      if (run > waiter.offset) waiter.resolve(run);
    }
  }

  remove(start: number, end: number): void {
    this.#spans.remove(start, end);
  }

  /** @returns the end of the run that begins at `offset`, once there is one @throws the signal's, or `close`'s reason */
  async wait(offset: number, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const run = this.#spans.endOfRun(offset);
    if (run > offset) return run;
    if (this.#closed !== undefined) throw this.#closed.reason;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const waiter = { offset, resolve, reject };
    this.#waiters.add(waiter);
    try {
      return await orAborted(promise, signal);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  /** Ends every wait for bytes that are not there. */
  close(reason: unknown): void {
    this.#closed ??= { reason };
    for (const { reject } of this.#waiters) reject(reason);
  }
}
