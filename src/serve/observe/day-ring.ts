import type { History, Sums } from '../../admin/status.ts';

/** A plot of a day has as many points as a screen has pixels for. */
const STEP_SECONDS = 60;
const STEPS = (24 * 3600) / STEP_SECONDS;

/** What nodes received in each minute of the last 24 hours. Times are milliseconds since 1970. */
export class DayRing {
  /** Of the latest step; in steps since 1970. */
  #latest = 0;
  readonly #fromPeers = new Float64Array(STEPS);
  readonly #fromRegistry = new Float64Array(STEPS);

  /** A report of less than was told before takes bytes away. */
  add({ fromPeers, fromRegistry }: Sums, now: number): void {
    const at = this.#advance(now) % STEPS;
    this.#fromPeers[at] = (this.#fromPeers[at] ?? 0) + fromPeers;
    this.#fromRegistry[at] = (this.#fromRegistry[at] ?? 0) + fromRegistry;
  }

  sums(now: number): Sums {
    this.#advance(now);
    return { fromPeers: sum(this.#fromPeers), fromRegistry: sum(this.#fromRegistry) };
  }

  history(now: number): History {
    const latest = this.#advance(now);
    const inOrder = (ring: Float64Array): number[] =>
      Array.from(ring, (_, at) => Math.max(0, ring[(latest + 1 + at) % STEPS] ?? 0));
    return {
      from: (latest + 1 - STEPS) * STEP_SECONDS * 1000,
      stepSeconds: STEP_SECONDS,
      fromPeers: inOrder(this.#fromPeers),
      fromRegistry: inOrder(this.#fromRegistry),
    };
  }

  /** What an earlier run kept; steps that are over 24 hours old, or in the future, are left out. */
  restore({ from, fromPeers, fromRegistry }: History, now: number): void {
    const latest = this.#advance(now);
    const first = Math.floor(from / 1000 / STEP_SECONDS);
    for (let at = 0; at < fromPeers.length; at++) {
      const step = first + at;
      if (step > latest || step <= latest - STEPS) continue;
      this.#fromPeers[step % STEPS] = fromPeers[at] ?? 0;
      this.#fromRegistry[step % STEPS] = fromRegistry[at] ?? 0;
    }
  }

  /** A clock that is set back goes on with the latest step. */
  #advance(now: number): number {
    const step = Math.floor(now / 1000 / STEP_SECONDS);
    const over = Math.min(STEPS, step - this.#latest);
    for (let at = 0; at < over; at++) {
      this.#fromPeers[(step - at) % STEPS] = 0;
      this.#fromRegistry[(step - at) % STEPS] = 0;
    }
    this.#latest = Math.max(step, this.#latest);
    return this.#latest;
  }
}

function sum(values: Float64Array): number {
  return Math.max(
    0,
    values.reduce((total, value) => total + value, 0),
  );
}
