/**
 * A range that brings nothing for so long is asked for anew, and its pieces of peers meanwhile; twice as long after each
 * failure, since a registry may be slow to answer. Milliseconds.
 */
const SILENCE_MS = 3000;
const LEAST_SILENCE_MS = 1000;
/** After so many failures on end, the registry is given up, ... */
const MAX_FAILURES = 4;
/** ... or when nothing has come since so long before a failure: a registry that restarts is back by then. */
const FRUITLESS_MS = 15_000;
const REST_FIRST_MS = 500;

/** How long the registry is waited for, and when it is given up. Times on the clock of performance.now, milliseconds. */
export class RegistryBackoff {
  #failures = 0;
  /** When it last brought something, once it has failed. */
  #brokenSince: number | undefined;

  /** How long a range may bring nothing. */
  get silenceMs(): number {
    const ms = SILENCE_MS * 2 ** this.#failures;
    if (this.#brokenSince === undefined) return ms;
    const left = this.#brokenSince + FRUITLESS_MS - performance.now();
    return Math.min(ms, Math.max(left, LEAST_SILENCE_MS));
  }

  /** How long a piece is not asked for after a failure. */
  get restMs(): number {
    return REST_FIRST_MS * 2 ** this.#failures;
  }

  heard(): void {
    this.#brokenSince = undefined;
  }

  pieceCame(): void {
    this.#failures = 0;
  }

  /** @param heardAt when the range that failed last brought something, or began @returns whether there is no hope */
  failed(heardAt: number): boolean {
    this.#failures++;
    this.#brokenSince ??= heardAt;
    return this.#failures >= MAX_FAILURES || performance.now() - this.#brokenSince >= FRUITLESS_MS;
  }
}
