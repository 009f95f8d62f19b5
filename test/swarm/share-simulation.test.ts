import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { ClaimBook } from '../../src/swarm/claims.ts';
import { rendezvousOrder } from '../../src/swarm/rendezvous.ts';
import { claimLifetime, decideShares } from '../../src/swarm/share-policy.ts';
import { Random } from '../helpers/fuzz.ts';

const PIECES = 48;
const STEP_MS = 10;
/** Of a piece from the registry, and from a peer, in steps. */
const REGISTRY_STEPS = 12;
const PEER_STEPS = 2;
const SETTLE_STEPS = 3;

interface SimulatedNode {
  readonly id: string;
  readonly order: number[];
  readonly has: Set<number>;
  readonly open: Map<number, { requested: boolean; steps: number }>;
  readonly book: ClaimBook;
}

/** Nodes that are all connected with each other, in steps of time; counts what the registry gave. */
class Simulation {
  readonly nodes: SimulatedNode[] = [];
  fetched = 0;
  now = 0;
  #named = 0;

  join(): void {
    const id = `node-${this.#named++}`;
    const order = rendezvousOrder(PIECES, id);
    const node = { id, order, has: new Set<number>(), open: new Map(), book: new ClaimBook() };
    for (const other of this.nodes) {
      node.book.hear(
        other.id,
        { kind: 'fetching', pieces: requested(other, true) },
        this.now,
        claimLifetime(0),
      );
      node.book.hear(
        other.id,
        { kind: 'claim', pieces: requested(other, false) },
        this.now,
        claimLifetime(0),
      );
    }
    this.nodes.push(node);
  }

  die(node: SimulatedNode): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    for (const other of this.nodes) other.book.forget(node.id);
  }

  step(lost: () => boolean = () => false): void {
    this.now += STEP_MS;
    const told: (() => void)[] = [];
    for (const node of this.nodes) {
      node.book.expire(this.now);
      const others = this.nodes.filter((other) => other !== node);
      const { open, release } = decideShares({
        selfId: node.id,
        now: this.now,
        pieceLength: 2 ** 19,
        pieceCount: PIECES,
        order: node.order,
        has: (index) => node.has.has(index),
        open: node.open,
        held: (index) => others.some(({ has }) => has.has(index)),
        claimers: (index, now) => node.book.claimers(index, now),
        resting: () => false,
        peers: others.length,
        expecting: false,
        backlogMs: 0,
        settled: true,
        peerRate: 0,
        registryRate: undefined,
        pieceMs: REGISTRY_STEPS * STEP_MS,
      });
      const ttl = claimLifetime(REGISTRY_STEPS * STEP_MS);
      const tell = (kind: 'claim' | 'drop', pieces: readonly number[]): void => {
        for (const other of others) {
          if (!lost()) told.push(() => other.book.hear(node.id, { kind, pieces }, this.now, ttl));
        }
      };
      for (const index of release) node.open.delete(index);
      if (release.length > 0) tell('drop', release);
      for (const index of open) node.open.set(index, { requested: false, steps: 0 });
      if (open.length > 0) tell('claim', open);
    }
    // Messages take a step; so do two claims of one moment.
    for (const deliver of told) deliver();
    for (const node of this.nodes) this.#transfer(node);
  }

  run(steps: number, each: () => void = () => {}, lost?: () => boolean): boolean {
    for (let step = 0; step < steps; step++) {
      if (this.nodes.every(({ has }) => has.size === PIECES)) return true;
      each();
      this.step(lost);
    }
    return this.nodes.every(({ has }) => has.size === PIECES);
  }

  #transfer(node: SimulatedNode): void {
    for (const [index, piece] of node.open) {
      piece.steps++;
      if (piece.steps === SETTLE_STEPS) {
        piece.requested = true;
        this.fetched++;
      }
      if (piece.steps === SETTLE_STEPS + REGISTRY_STEPS) this.#got(node, index);
    }
    if ((this.now / STEP_MS) % PEER_STEPS !== 0) return;
    const wanted = node.order.find(
      (index) => !node.has.has(index) && this.nodes.some(({ has }) => has.has(index)),
    );
    if (wanted !== undefined && !node.open.has(wanted)) this.#got(node, wanted);
  }

  #got(node: SimulatedNode, index: number): void {
    node.open.delete(index);
    node.has.add(index);
    for (const other of this.nodes) other.book.fulfilled(node.id, index);
  }
}

function requested(node: SimulatedNode, wanted: boolean): number[] {
  return [...node.open].filter(([, piece]) => piece.requested === wanted).map(([index]) => index);
}

function seeded(t: test.TestContext): Random {
  const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 32 - 1));
  t.diagnostic(`FUZZ_SEED=${seed}`);
  return new Random(seed);
}

test('connected nodes without losses fetch no piece twice', () => {
  for (const count of [2, 3, 5, 8, 16]) {
    const simulation = new Simulation();
    for (let node = 0; node < count; node++) simulation.join();
    assert.ok(simulation.run(2000), `${count} nodes end`);
    assert.equal(simulation.fetched, PIECES, `${count} nodes`);
  }
});

test('nodes that join while others fetch fetch no piece twice', (t) => {
  const random = seeded(t);
  for (let round = 0; round < 20; round++) {
    const simulation = new Simulation();
    simulation.join();
    simulation.join();
    const ended = simulation.run(2000, () => {
      if (simulation.nodes.length < 8 && random.below(10) === 0) simulation.join();
    });
    assert.ok(ended);
    assert.equal(simulation.fetched, PIECES, `round ${round}`);
  }
});

test('no piece is orphaned, whoever joins, dies, lies or loses messages', (t) => {
  const random = seeded(t);
  for (let round = 0; round < 20; round++) {
    const simulation = new Simulation();
    simulation.join();
    simulation.join();
    let events = 40;
    const ended = simulation.run(
      20_000,
      () => {
        if (events === 0 || random.below(8) > 0) return;
        events--;
        const node = random.pick(simulation.nodes);
        const liar = random.pick(simulation.nodes);
        const kind = random.below(3);
        if (kind === 0 && simulation.nodes.length < 10) simulation.join();
        else if (kind === 1 && simulation.nodes.length > 1) simulation.die(node);
        else if (liar !== node) {
          const pieces = Array.from({ length: 10 }, () => random.below(PIECES));
          node.book.hear(liar.id, { kind: 'claim', pieces }, simulation.now, claimLifetime(0));
        }
      },
      () => random.below(5) === 0,
    );
    assert.ok(ended, `round ${round}`);
  }
});
