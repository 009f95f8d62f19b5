import type { Random } from '../../../test/helpers/fuzz.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** Has left the registry when a request is broken off, in queues and socket buffers (measured: 64 to 160 KB). */
const UNDER_WAY_BYTES = 96 * 1024;
/** Flows of TCP through one pipe are unequal: the deviation of the logarithm of what each request gets. */
const UNEQUAL = 0.7;
const SMALL = 1e-6;
const RESOLUTION = 2 ** 20;

/** One response on its way. */
export interface Flow {
  /** Bytes that are not through yet. */
  left: number;
  /** Bytes per millisecond. */
  rate: number;
  /** Its part, against others'. */
  readonly weight: number;
  /** What the node's own link takes at most. */
  readonly most: () => number;
  onEnd: () => void;
}

/** The thin pipe that all share, as unevenly as with TCP: nobody gets more than its own link takes. */
export class Gateway {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #rate: number;
  readonly #flows = new Set<Flow>();
  #at = 0;
  #version = 0;
  /** Bytes that went through. */
  bytes = 0;

  /** @param rate bytes per millisecond */
  constructor(clock: VirtualClock, random: Random, rate: number) {
    this.#clock = clock;
    this.#random = random;
    this.#rate = rate;
  }

  start(bytes: number, most: () => number, onEnd: () => void): Flow {
    this.#advance();
    const flow = { left: bytes, rate: 0, weight: Math.exp(UNEQUAL * normal(this.#random)), most, onEnd };
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

  /** Whoever takes less than its part leaves the rest to the others. */
  #share(): void {
    const flows = [...this.#flows].map((flow) => ({ flow, most: flow.most() / flow.weight }));
    flows.sort((a, b) => a.most - b.most);
    let rate = this.#rate;
    let weights = flows.reduce((sum, { flow }) => sum + flow.weight, 0);
    let soonest = Infinity;
    for (const { flow, most } of flows) {
      flow.rate = flow.weight * Math.min(most, rate / weights);
      rate -= flow.rate;
      weights -= flow.weight;
      soonest = Math.min(soonest, flow.left / flow.rate);
    }
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

/** Box and Muller, 1958. */
function normal(random: Random): number {
  const [angle, radius] = [random.below(RESOLUTION), random.below(RESOLUTION) + 1];
  return Math.sqrt(-2 * Math.log(radius / RESOLUTION)) * Math.cos((2 * Math.PI * angle) / RESOLUTION);
}
