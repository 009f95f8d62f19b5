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
  /** Where each is in the list. */
  readonly #places = new Map<Node, number>();
  /** Announces of each second. */
  readonly seconds: number[] = [];
  readonly #wanted: number;
  #freeAt = 0;

  constructor(clock: VirtualClock, random: Random, wanted: number) {
    this.#clock = clock;
    this.#random = random;
    this.#wanted = wanted;
  }

  announce(node: Node, onAnswer: (answer: SimAnswer<Node>) => void): void {
    const second = Math.floor(this.#clock.now / 1000);
    this.seconds[second] = (this.seconds[second] ?? 0) + 1;
    this.#freeAt = Math.max(this.#freeAt, this.#clock.now + ROUND_TRIP_MS / 2) + 1 / ANSWERS_PER_MS;
    this.#clock.after(this.#freeAt - this.#clock.now, () => {
      if (!this.#places.has(node)) this.#places.set(node, this.#nodes.push(node) - 1);
      const answer = this.#answer(node);
      this.#clock.after(ROUND_TRIP_MS / 2, () => onAnswer(answer));
    });
  }

  leave(node: Node): void {
    const at = this.#places.get(node);
    const last = this.#nodes.at(-1);
    if (at === undefined || last === undefined) return;
    this.#nodes.pop();
    this.#places.delete(node);
    if (last === node) return;
    this.#nodes[at] = last;
    this.#places.set(last, at);
  }

  #answer(node: Node): SimAnswer<Node> {
    const nodes = this.#nodes;
    let complete = 0;
    for (const one of nodes) if (one.complete) complete++;
    // The first `wanted` of a shuffle (Fisher and Yates); where they land does not matter.
    const peers: Node[] = [];
    for (let at = 0; at < nodes.length && peers.length < this.#wanted; at++) {
      this.#swap(at, at + this.#random.below(nodes.length - at));
      const peer = nodes[at] as Node;
      if (peer !== node) peers.push(peer);
    }
    return { peers, complete, incomplete: nodes.length - complete };
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#nodes[a] as Node, this.#nodes[b] as Node];
    this.#nodes[a] = other;
    this.#nodes[b] = one;
    this.#places.set(other, a);
    this.#places.set(one, b);
  }
}
