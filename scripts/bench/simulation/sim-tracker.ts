import type { Random } from '../../../test/helpers/fuzz.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What the embedded tracker answers on one core (scripts/bench/announces), and how far away it is. */
const ANSWERS_PER_MS = 1.5;
const ROUND_TRIP_MS = 10;

/** Peers, and how many of all miss pieces. */
export interface SimAnswer<Node> {
  readonly peers: readonly Node[];
  readonly complete: number;
  readonly incomplete: number;
}

/** Names up to 50 peers at random, as trackers do, one announce after the other. */
export class SimTracker<Node extends { readonly complete: boolean }> {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #nodes: Node[] = [];
  readonly #wanted: number;
  #freeAt = 0;

  constructor(clock: VirtualClock, random: Random, wanted: number) {
    this.#clock = clock;
    this.#random = random;
    this.#wanted = wanted;
  }

  announce(node: Node, onAnswer: (answer: SimAnswer<Node>) => void): void {
    this.#freeAt = Math.max(this.#freeAt, this.#clock.now + ROUND_TRIP_MS / 2) + 1 / ANSWERS_PER_MS;
    this.#clock.after(this.#freeAt - this.#clock.now, () => {
      if (!this.#nodes.includes(node)) this.#nodes.push(node);
      const answer = this.#answer(node);
      this.#clock.after(ROUND_TRIP_MS / 2, () => onAnswer(answer));
    });
  }

  leave(node: Node): void {
    const at = this.#nodes.indexOf(node);
    if (at >= 0) this.#nodes.splice(at, 1);
  }

  #answer(node: Node): SimAnswer<Node> {
    const others = this.#nodes.filter((other) => other !== node);
    const complete = this.#nodes.filter((other) => other.complete).length;
    const incomplete = this.#nodes.length - complete;
    for (let at = 0; at < Math.min(this.#wanted, others.length); at++) {
      const other = at + this.#random.below(others.length - at);
      [others[at], others[other]] = [others[other] as Node, others[at] as Node];
    }
    return { peers: others.slice(0, this.#wanted), complete, incomplete };
  }
}
