import assert from 'node:assert/strict';
import test from 'node:test';
import { FETCHERS, hasStrangers, isFetcher, type Standing } from '../../src/swarm/claims/fetchers.ts';
import { PieceTimes } from '../../src/swarm/claims/piece-times.ts';
import { StartUp } from '../../src/swarm/claims/start-up.ts';
import { SlowPeers } from '../../src/swarm/claims/slow-peers.ts';

const standing = (changes: Partial<Standing>): Standing => ({
  self: { tag: 1, count: 0 },
  others: [],
  swarmSize: undefined,
  pieceCount: 256,
  stalls: 0,
  ...changes,
});

/** Nodes of one swarm that are all connected, with tags spread evenly. */
const fetchersOf = (nodes: number, changes: Partial<Standing> = {}): number => {
  const members = Array.from({ length: nodes }, (_, node) => ({ tag: node * 1_000_000, count: 0 }));
  return members.filter((self) =>
    isFetcher(standing({ self, others: members.filter((member) => member !== self), ...changes })),
  ).length;
};

test('of connected nodes a few fetch, all where they are few, twice as many each time that nothing comes', () => {
  for (const nodes of [1, 2, 8]) assert.equal(fetchersOf(nodes), nodes);
  assert.equal(fetchersOf(100), FETCHERS);
  assert.equal(fetchersOf(100, { stalls: 1 }), 2 * FETCHERS);
  assert.equal(fetchersOf(100, { stalls: 12 }), 100);
});

test('of a small blob fewer fetch, so that pieces come one after the other and spread meanwhile', () => {
  assert.equal(fetchersOf(100, { pieceCount: 32 }), 4);
  assert.equal(fetchersOf(100, { pieceCount: 2 }), 2);
  assert.equal(fetchersOf(100, { pieceCount: 32, stalls: 2 }), 16);
});

test('of a large swarm that each node knows in part, about as many fetch', () => {
  const nodes = 1000;
  const others = Array.from({ length: 50 }, (_, tag) => ({ tag, count: 0 }));
  const tags = Array.from({ length: nodes }, (_, node) => Math.ceil((node * 2 ** 32) / nodes));
  const chosen = tags.filter((tag) =>
    isFetcher(standing({ self: { tag, count: 0 }, others, swarmSize: nodes })),
  );
  assert.equal(chosen.length, FETCHERS);
  assert.ok(hasStrangers(standing({ others, swarmSize: nodes })));
  assert.ok(!hasStrangers(standing({ others, swarmSize: 51 })));
});

test('a node that is left far behind does not fetch, and nobody counts on it', () => {
  const ahead = Array.from({ length: 20 }, (_, node) => ({ tag: 10 + node, count: 100 }));
  assert.ok(!isFetcher(standing({ self: { tag: 1, count: 60 }, others: ahead })));
  assert.ok(isFetcher(standing({ self: { tag: 1, count: 90 }, others: ahead })));
  const behind = Array.from({ length: FETCHERS }, (_, node) => ({ tag: node, count: 0 }));
  assert.ok(isFetcher(standing({ self: { tag: 9, count: 100 }, others: [...ahead, ...behind] })));
});

test('how long a claim may take follows the times of pieces, and what they vary', () => {
  const times = new PieceTimes();
  assert.equal(times.lateMs, 15_000);
  assert.equal(times.pace, undefined);
  for (let piece = 0; piece < 100; piece++) times.observe(1000);
  assert.equal(Math.round(times.mean ?? 0), 1000);
  assert.equal(times.pace, times.mean);
  assert.equal(times.lateMs, 1500, 'not less');
  for (let piece = 0; piece < 100; piece++) times.observe(piece % 2 === 0 ? 500 : 8000);
  assert.ok(times.lateMs > 10_000);
});

const MB = 1_000_000;
const LOOK_MS = 100;

/** Peers, a registry and a link, megabytes per second; what comes in `seconds`. */
class SlowPeersWorld {
  readonly peers = new SlowPeers();
  readonly rates: { peers: number; registry: number; link: number; most: number; nodes: number };
  backlog = 1000 * MB;
  fromRegistry = 0;

  constructor(rates: Partial<SlowPeersWorld['rates']>) {
    this.rates = { peers: 0, registry: 0, link: Infinity, most: Infinity, nodes: 1, ...rates };
    this.#look(0);
  }

  run(seconds: number): void {
    for (let ms = 0; ms < seconds * 1000; ms += LOOK_MS) this.#look(LOOK_MS);
  }

  #look(ms: number): void {
    const { help } = this.peers;
    const { peers, registry, link, most, nodes } = this.rates;
    const isAsking = help === 'probe' || help === 'fill';
    // Two who share a link get half each.
    const part = isAsking && peers + registry > link ? link / 2 / Math.min(peers, link) : 1;
    const bytes = isAsking ? Math.min(registry, link / (peers > 0 ? 2 : 1)) * 1000 * ms : 0;
    this.fromRegistry += bytes;
    this.peers.observe({
      ms,
      fromPeers: Math.min(peers, link, most) * part * 1000 * ms,
      peers: 1,
      isAsking: help === 'fill',
      delivered: { bytes, ms: bytes > 0 ? ms : 0 },
      backlog: this.backlog,
      unspread: 0,
      fetchedByOthers: 0,
      fetcher: true,
      nodes,
      most: most * 1000,
    });
  }
}

test('the registry helps within half a second where peers bring less than it does, and goes on', () => {
  for (const peers of [0, 0.2, 2, 5]) {
    const world = new SlowPeersWorld({ peers, registry: 7.5 });
    world.run(0.8);
    assert.equal(world.peers.help, 'fill', `${peers} MB/s`);
    world.run(30);
    assert.ok(world.fromRegistry > 30.8 * 0.9 * 7.5 * MB, `${peers} MB/s: ${world.fromRegistry}`);
  }
});

test('beside peers that are faster one piece tells so, and is not asked for again soon', () => {
  const world = new SlowPeersWorld({ peers: 20, registry: 7.5 });
  world.run(25);
  assert.equal(world.peers.help, 'none');
  assert.ok(world.fromRegistry < 2 * MB, `${world.fromRegistry}`);
  world.rates.peers = 1;
  world.run(8);
  assert.equal(world.peers.help, 'fill', 'when they become slow, what is known of the registry counts');
});

test('peers that become faster get the work back', () => {
  const world = new SlowPeersWorld({ peers: 2, registry: 7.5 });
  world.run(5);
  world.rates.peers = 30;
  world.run(3);
  assert.equal(world.peers.help, 'none');
});

test("behind a slow link, and at this node's own limit, the registry takes from what peers bring, and is left alone", () => {
  const behind = new SlowPeersWorld({ peers: 10, registry: 10, link: 0.6 });
  behind.run(120);
  assert.ok(behind.fromRegistry < 0.03 * 120 * 0.6 * MB, `${behind.fromRegistry}`);
  const limited = new SlowPeersWorld({ peers: 10, registry: 10, most: 3 });
  limited.run(120);
  assert.equal(limited.fromRegistry, 0);
});

test('what peers bring soon is left to them, and the longer, the more nodes would share the way to the registry', () => {
  const soon = new SlowPeersWorld({ peers: 10, registry: 100 });
  soon.backlog = 4 * MB;
  soon.run(10);
  assert.equal(soon.fromRegistry, 0);
  const many = new SlowPeersWorld({ peers: 1, registry: 100, nodes: 20 });
  many.run(4);
  assert.equal(many.fromRegistry, 0);
});

test('where all wait for complete peers that are slow, what these alone have is fetched as if nobody had it', () => {
  const peers = new SlowPeers();
  const look = (isAsking: boolean, delivered: number, unspread = 100 * MB, fromPeers = 200_000): void =>
    peers.observe({
      ms: 100,
      fromPeers,
      peers: 8,
      isAsking,
      delivered: { bytes: delivered, ms: delivered > 0 ? 100 : 0 },
      backlog: 100 * MB,
      unspread,
      fetchedByOthers: delivered * 7,
      fetcher: true,
      nodes: 8,
      most: Infinity,
    });
  for (let at = 0; at < 10 && peers.help === 'none'; at++) look(false, 0);
  assert.equal(peers.help, 'probe');
  assert.ok(!peers.fetchesUnspread);
  for (let at = 0; at < 3; at++) look(true, 90_000);
  look(false, 0);
  assert.equal(
    peers.help,
    'fill',
    'its own part is less than what comes from peers, the part of all is more',
  );
  assert.ok(peers.fetchesUnspread);
  for (let at = 0; at < 100; at++) look(true, 90_000, 50 * MB, 830_000);
  assert.ok(peers.fetchesUnspread, 'what others fetched comes from them, and does not count as theirs');
  look(true, 90_000, 0);
  assert.ok(!peers.fetchesUnspread);
});

test('complete peers that a tracker named and that do not answer hold nobody up for long', () => {
  const startUp = new StartUp(1);
  startUp.expect(true, 1000);
  assert.equal(startUp.expecting(1499), 'seeders');
  assert.equal(startUp.expecting(1500), 'leechers', 'the registry is asked');
  assert.equal(startUp.expecting(4000), 'none', 'in long runs');
});
