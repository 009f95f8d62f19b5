import assert from 'node:assert/strict';
import test from 'node:test';
import { FETCHERS, hasStrangers, isFetcher, type Standing } from '../../src/swarm/claims/fetchers.ts';
import { PieceTimes } from '../../src/swarm/claims/piece-times.ts';
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

test('the registry helps where peers are slow and it makes the whole clearly faster, after a watch and a try', () => {
  const peers = new SlowPeers();
  const MB = 1_000_000;
  const look = (fromPeers: number, fromRegistry: number): boolean => {
    peers.observe({ ms: 500, fromPeers, fromRegistry, backlog: 100 * MB, fetcher: true });
    return peers.areSlow;
  };
  for (let half = 0; half < 7; half++) assert.equal(look(0.1 * MB, 0), false);
  assert.equal(look(0.1 * MB, 0), true);
  assert.ok(peers.isTrying);
  for (let half = 0; half < 20; half++) assert.equal(look(0.1 * MB, 2 * MB), true);
  assert.ok(!peers.isTrying);
});

test('behind a slow link the registry is tried once, then left alone for long', () => {
  const peers = new SlowPeers();
  const look = (fromPeers: number, fromRegistry: number): boolean => {
    peers.observe({ ms: 500, fromPeers, fromRegistry, backlog: 100_000_000, fetcher: true });
    return peers.areSlow;
  };
  let tried = 0;
  for (let half = 0; half < 240; half++)
    if (look(peers.areSlow ? 150_000 : 300_000, peers.areSlow ? 150_000 : 0)) tried++;
  assert.ok(tried > 0 && tried < 10, `${tried} half seconds of 240`);
});

test('peers that bring what they have soon are never called slow', () => {
  const peers = new SlowPeers();
  for (let half = 0; half < 100; half++) {
    peers.observe({ ms: 500, fromPeers: 10_000_000, fromRegistry: 0, backlog: 100_000_000, fetcher: true });
    assert.ok(!peers.areSlow);
  }
});
