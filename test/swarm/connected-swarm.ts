import type { ClaimMessage } from '../../src/swarm/claims/claim-messages.ts';
import { ClaimBook, type ClaimTimeouts } from '../../src/swarm/claims/claim-book.ts';
import { isFetcher } from '../../src/swarm/claims/fetchers.ts';
import { peerTag, rendezvousOrder } from '../../src/swarm/claims/rendezvous.ts';
import { decideShares } from '../../src/swarm/claims/fetch-policy.ts';

const STEP_MS = 10;
/** Of a piece from the registry, of one from a peer, and between a claim and its request, in steps. */
const REGISTRY_STEPS = 12;
const PEER_STEPS = 2;
const SETTLE_STEPS = 3;
const PATIENCE: ClaimTimeouts = { overtaken: 15_000, abandoned: 15_000, doubted: 1500 };

interface ConnectedNode {
  readonly tag: number;
  readonly order: number[];
  readonly has: Set<number>;
  readonly open: Map<number, { requested: boolean; received: number; steps: number }>;
  readonly book: ClaimBook;
}

/** Nodes that are all connected with each other and lose nothing, in steps of time; counts what the registry gave. */
export class ConnectedSwarm {
  readonly pieces = 96;
  readonly nodes: ConnectedNode[] = [];
  fetched = 0;
  #now = 0;
  #named = 0;

  join(): void {
    const tag = peerTag(`node-${this.#named++}`, 'a swarm');
    const order = rendezvousOrder(this.pieces, tag);
    const node = { tag, order, has: new Set<number>(), open: new Map(), book: new ClaimBook() };
    for (const other of this.nodes) {
      for (const kind of ['fetching', 'claim'] as const) {
        const pieces = [...other.open].filter(([, { requested }]) => requested === (kind === 'fetching'));
        node.book.hear(other.tag, { kind, pieces: pieces.map(([index]) => index) }, this.#now);
      }
    }
    this.nodes.push(node);
  }

  /** @returns whether all have all */
  run(steps: number, each: () => void = () => {}): boolean {
    for (let step = 0; step < steps && !this.#isDone; step++) {
      each();
      this.#step();
    }
    return this.#isDone;
  }

  get #isDone(): boolean {
    return this.nodes.every(({ has }) => has.size === this.pieces);
  }

  #step(): void {
    this.#now += STEP_MS;
    const told: (() => void)[] = [];
    for (const node of this.nodes) {
      node.book.expire(this.#now, PATIENCE);
      const others = this.nodes.filter((other) => other !== node);
      const { open, release } = this.#decision(node, others);
      const tell = (message: ClaimMessage): void => {
        for (const { book } of others) told.push(() => book.hear(node.tag, message, this.#now));
      };
      for (const index of release) node.open.delete(index);
      if (release.length > 0) tell({ kind: 'drop', pieces: release });
      for (const index of open) node.open.set(index, { requested: false, received: 0, steps: 0 });
      if (open.length > 0) tell({ kind: 'claim', pieces: open });
    }
    // Messages take a step; so do two claims of one moment.
    for (const deliver of told) deliver();
    for (const node of this.nodes) this.#transfer(node);
  }

  #decision(node: ConnectedNode, others: readonly ConnectedNode[]): ReturnType<typeof decideShares> {
    const member = ({ tag, has }: ConnectedNode): { tag: number; count: number } => ({
      tag,
      count: has.size,
    });
    return decideShares({
      selfTag: node.tag,
      pieceLength: 2 ** 19,
      pieceCount: this.pieces,
      order: node.order,
      has: (index) => node.has.has(index),
      open: node.open,
      speculative: () => false,
      held: (index) => others.some(({ has }) => has.has(index)),
      claimers: (index) => node.book.claimers(index),
      backingOff: () => false,
      peers: others.length,
      expecting: 'none',
      settled: true,
      early: false,
      fetcher: isFetcher({
        self: member(node),
        others: others.map(member).filter(({ count }) => count < this.pieces),
        swarmSize: this.nodes.length,
        pieceCount: this.pieces,
        stalls: 0,
      }),
      full: false,
      help: 'none',
      registryRate: undefined,
      nodes: others.length + 1,
      begun: () => false,
      pieceMs: REGISTRY_STEPS * STEP_MS,
    });
  }

  #transfer(node: ConnectedNode): void {
    for (const [index, piece] of node.open) {
      piece.steps++;
      if (piece.steps === SETTLE_STEPS) {
        piece.requested = true;
        this.fetched++;
      }
      if (piece.requested) piece.received = ((piece.steps - SETTLE_STEPS) / REGISTRY_STEPS) * 2 ** 19;
      if (piece.steps === SETTLE_STEPS + REGISTRY_STEPS) this.#got(node, index);
    }
    if ((this.#now / STEP_MS) % PEER_STEPS !== 0) return;
    const wanted = node.order.find(
      (index) =>
        !node.has.has(index) && !node.open.has(index) && this.nodes.some(({ has }) => has.has(index)),
    );
    if (wanted !== undefined) this.#got(node, wanted);
  }

  #got(node: ConnectedNode, index: number): void {
    node.open.delete(index);
    node.has.add(index);
    for (const other of this.nodes) if (other !== node) other.book.fulfilled(node.tag, index, this.#now);
  }
}
