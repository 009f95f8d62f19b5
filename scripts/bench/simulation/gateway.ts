import type { VirtualClock } from './virtual-clock.ts';

/** Has left the registry when a request is broken off: what the first round trip of a TCP connection carries. */
const UNDER_WAY_BYTES = 32 * 1024;
const SMALL = 1e-6;

/** One response on its way. */
export interface Flow {
  /** Bytes that are not through yet. */
  left: number;
  /** Bytes per millisecond. */
  rate: number;
  /** What the node's own link takes at most. */
  readonly most: () => number;
  onEnd: () => void;
}

/** The thin pipe that all share evenly, as TCP does: nobody gets more than its own link takes. */
export class Gateway {
  readonly #clock: VirtualClock;
  readonly #rate: number;
  readonly #flows = new Set<Flow>();
  #at = 0;
  #version = 0;
  /** Bytes that went through. */
  bytes = 0;

  /** @param rate bytes per millisecond */
  constructor(clock: VirtualClock, rate: number) {
    this.#clock = clock;
    this.#rate = rate;
  }

  start(bytes: number, most: () => number, onEnd: () => void): Flow {
    this.#advance();
    const flow = { left: bytes, rate: 0, most, onEnd };
    this.#flows.add(flow);
    this.#share();
    return flow;
  }

  /** Bytes of the flow that are not through. */
  leftOf(flow: Flow): number {
    this.#advance();
    return flow.left;
  }

  breakOff(flow: Flow): void {
    this.#advance();
    flow.left = Math.min(flow.left, UNDER_WAY_BYTES);
    flow.onEnd = () => {};
    this.#share();
  }

  #advance(): void {
    const ms = this.#clock.now - this.#at;
    this.#at = this.#clock.now;
    if (ms === 0) return;
    for (const flow of this.#flows) {
      const bytes = Math.min(flow.left, flow.rate * ms);
      flow.left -= bytes;
      this.bytes += bytes;
    }
  }

  /** Whoever takes less than an even share leaves the rest to the others. */
  #share(): void {
    const flows = [...this.#flows]
      .map((flow) => ({ flow, most: flow.most() }))
      .sort((a, b) => a.most - b.most);
    let rate = this.#rate;
    let soonest = Infinity;
    flows.forEach(({ flow, most }, at) => {
      flow.rate = Math.min(most, rate / (flows.length - at));
      rate -= flow.rate;
      soonest = Math.min(soonest, flow.left / flow.rate);
    });
    const version = ++this.#version;
    if (soonest < Infinity) this.#clock.after(soonest, () => version === this.#version && this.#end());
  }

  #end(): void {
    this.#advance();
    const ended = [...this.#flows].filter(({ left }) => left < SMALL);
    for (const flow of ended) {
      this.bytes += flow.left;
      this.#flows.delete(flow);
    }
    this.#share();
    for (const { onEnd } of ended) onEnd();
  }
}
