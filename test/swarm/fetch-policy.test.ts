import assert from 'node:assert/strict';
import test from 'node:test';
import { goesBefore, rendezvousOrder } from '../../src/swarm/claims/rendezvous.ts';
import type { Claim } from '../../src/swarm/claims/claim-book.ts';
import { decideShares, type FetchView } from '../../src/swarm/claims/fetch-policy.ts';
import type { OpenPiece } from '../../src/swarm/pieces/pieces.ts';

const MIB = 2 ** 20;
const SELF = 1000;
const OTHER = 2000;

const claim = (tag: number, fetching: boolean): Claim => ({ tag, from: tag, since: 0, fetching });

function view(changes: Partial<FetchView> = {}): FetchView {
  return {
    selfTag: SELF,
    pieceLength: MIB,
    pieceCount: 64,
    order: rendezvousOrder(64, SELF),
    has: () => false,
    open: new Map(),
    speculative: () => false,
    held: () => false,
    claimers: () => [],
    backingOff: () => false,
    peers: 1,
    expecting: 'none',
    settled: true,
    early: false,
    fetcher: true,
    full: false,
    help: 'none',
    registryRate: undefined,
    nodes: 2,
    begun: () => false,
    pieceMs: undefined,
    ...changes,
  };
}

const open = (pieces: readonly number[], requested: boolean, received = 0): Map<number, OpenPiece> =>
  new Map(pieces.map((index) => [index, { requested, received }]));

test('a node that waits for the tracker opens nothing', () => {
  assert.deepEqual(decideShares(view({ peers: 0, settled: false })), { open: [], release: [] });
});

test('a node whose turn comes while nobody has answered opens one piece, and no second', () => {
  const early = { peers: 0, settled: false, early: true };
  const first = decideShares(view(early)).open;
  assert.deepEqual(first, [rendezvousOrder(64, SELF)[0]]);
  assert.deepEqual(decideShares(view({ ...early, open: open(first, true) })), { open: [], release: [] });
});

test('a node alone opens one run of neighbours at a time', () => {
  const { open: run } = decideShares(view({ peers: 0 }));
  assert.ok(run.length > 0);
  run.forEach((index, at) => assert.equal(index, (run[0] ?? 0) + at));
  assert.ok(run.length <= 8, 'the first one is short: peers may come');
  const bounded = decideShares(view({ peers: 0, has: (index) => index % 8 === 7 })).open;
  assert.deepEqual(bounded, [0, 1, 2, 3, 4, 5, 6], 'later ones begin where pieces are missing first');
  const later = decideShares(view({ peers: 0, has: (index) => index < 20 })).open;
  assert.equal(later.length, 20, 'and are as long as all before them');
});

test('a node alone opens the next run while the last piece of one arrives', () => {
  const has = (index: number): boolean => index < 7;
  assert.deepEqual(decideShares(view({ peers: 0, has, open: open([7, 8], true) })).open, []);
  assert.equal(decideShares(view({ peers: 0, has, open: open([7], true) })).open[0], 8);
});

test('a node that expects peers opens a few pieces, and none where seeds are expected', () => {
  assert.equal(decideShares(view({ peers: 0, expecting: 'leechers' })).open.length, 2);
  assert.equal(decideShares(view({ peers: 0, expecting: 'seeders' })).open.length, 0);
});

test('a node that is none of those that fetch opens nothing, and releases what it began speculatively', () => {
  assert.deepEqual(decideShares(view({ fetcher: false })), { open: [], release: [] });
  const table: [requested: boolean, received: number, speculative: boolean, released: boolean][] = [
    [false, 0, false, true],
    [true, 0, false, false],
    [true, 0, true, true],
    [true, MIB / 4, true, false],
  ];
  for (const [requested, received, speculative, released] of table) {
    const { release } = decideShares(
      view({ fetcher: false, open: open([3], requested, received), speculative: () => speculative }),
    );
    assert.deepEqual(release, released ? [3] : [], `${requested} ${received} ${speculative}`);
  }
});

test('a piece that a peer has come to have is broken off in its first half', () => {
  const table: [received: number, released: boolean][] = [
    [0, true],
    [0.4 * MIB, true],
    [0.6 * MIB, false],
  ];
  for (const [received, released] of table) {
    const { release } = decideShares(view({ held: () => true, open: open([3], true, received) }));
    assert.deepEqual(release, released ? [3] : [], `${received}`);
  }
  const unknown = new Map([[3, { requested: true }]]);
  assert.deepEqual(
    decideShares(view({ held: () => true, open: unknown })).release,
    [],
    'not known: it goes on',
  );
});

test('among peers two pieces are open until the time of a piece is known, then about a second of work', () => {
  const table: [pieceMs: number | undefined, count: number][] = [
    [undefined, 2],
    [4000, 2],
    [500, 3],
    [100, 11],
    [1, 16],
  ];
  for (const [pieceMs, count] of table) assert.equal(decideShares(view({ pieceMs })).open.length, count);
});

test('large pieces: never more open than 32 MiB, but two', () => {
  assert.equal(decideShares(view({ pieceMs: 1, pieceLength: 16 * MIB })).open.length, 2);
  assert.equal(decideShares(view({ pieceMs: 1, pieceLength: 8 * MIB })).open.length, 4);
});

test('what is here, held by a peer, claimed by a peer, or failed a moment ago, is not opened', () => {
  const free = new Set([3, 4]);
  for (const taken of ['has', 'held', 'backingOff'] as const) {
    const decision = decideShares(view({ [taken]: (index: number) => !free.has(index), pieceMs: 1 }));
    assert.deepEqual(
      decision.open.toSorted((a, b) => a - b),
      [3, 4],
      taken,
    );
  }
  const claimed = decideShares(
    view({ claimers: (index) => (free.has(index) ? [] : [claim(OTHER, false)]), pieceMs: 1 }),
  );
  assert.deepEqual(
    claimed.open.toSorted((a, b) => a - b),
    [3, 4],
  );
});

test('the neighbour of an open piece goes first, so that requests are few', () => {
  const decision = decideShares(view({ open: open([10], true) }));
  assert.deepEqual(decision.open, [11]);
});

test('of two claims the better weight keeps the piece, unless most of it is here or it is on its way to a peer', () => {
  const index = 5;
  const [better, worse] = goesBefore(index, SELF, OTHER) ? [SELF, OTHER] : [OTHER, SELF];
  const table: [self: number, requested: boolean, received: number, fetching: boolean, released: boolean][] =
    [
      [better, false, 0, false, false],
      [worse, false, 0, false, true],
      [better, false, 0, true, true],
      [better, true, 0, true, false],
      [worse, true, 0, true, true],
      [worse, true, 0, false, true],
      [worse, true, 0.6 * MIB, true, false],
    ];
  for (const [self, requested, received, fetching, released] of table) {
    const rival = self === better ? worse : better;
    const { release } = decideShares(
      view({
        selfTag: self,
        open: open([index], requested, received),
        claimers: (i) => (i === index ? [claim(rival, fetching)] : []),
      }),
    );
    assert.deepEqual(release, released ? [index] : [], `${self} ${requested} ${received} ${fetching}`);
  }
});

test('a node that is no longer alone lets its long run go, but for its first pieces', () => {
  const run = new Map<number, OpenPiece>([...open([8], true), ...open([9, 10, 11, 12, 13], false)]);
  assert.deepEqual(decideShares(view({ open: run })).release, [10, 11, 12, 13]);
});

test('peers are left what they have, unless they are slow: then one piece tells what the registry does', () => {
  const held = (): boolean => true;
  assert.equal(decideShares(view({ held })).open.length, 0);
  assert.equal(decideShares(view({ held, help: 'probe' })).open.length, 1);
  assert.equal(decideShares(view({ held, help: 'fill' })).open.length, 2);
  assert.equal(decideShares(view({ held, help: 'probe', fetcher: false })).open.length, 1);
  assert.equal(decideShares(view({ held, help: 'hold' })).open.length, 0);
});

test('a node that nobody else waits beside lets the registry help in long runs, beside what peers have begun', () => {
  const helped = { held: () => true, help: 'fill', nodes: 1, registryRate: MIB / 100 } as const;
  const begun = (index: number): boolean => index < 3;
  const run = decideShares(view({ ...helped, begun })).open;
  assert.deepEqual(
    run,
    Array.from({ length: 12 }, (_, at) => 3 + at),
    'a second of its work, in one request',
  );
  const half = { ...helped, begun, open: open(run.slice(4), true) };
  assert.deepEqual(decideShares(view(half)).open, [], 'the next when half of it is here');
  const atTheEnd = decideShares(view({ ...helped, begun: () => true })).open;
  assert.equal(atTheEnd.length, 1, 'what peers have begun comes last, one piece at a time');
});

test('a decision stands when it is carried out: what was opened because peers are slow is not let go again', () => {
  for (const help of ['probe', 'fill', 'hold'] as const) {
    const slow = { held: () => true, help };
    const first = decideShares(view({ held: () => true, help: help === 'hold' ? 'fill' : help }));
    assert.ok(first.open.length > 0);
    const second = decideShares(view({ ...slow, open: open(first.open, false) }));
    assert.deepEqual(second, { open: [], release: [] });
  }
});

test('what somebody waits for is opened first, alone and among peers, and beside a long run', () => {
  const wanted = [40, 41];
  assert.equal(decideShares(view({ peers: 0, wanted })).open[0], 40);
  assert.deepEqual(decideShares(view({ peers: 0, wanted, open: open([1, 2, 3], true) })).open, wanted);
  assert.deepEqual(decideShares(view({ wanted })).open, wanted);
  const held = (index: number): boolean => index === 40;
  assert.equal(decideShares(view({ wanted, held })).open[0], 41, 'what a peer has is asked of the peer');
});

test('a node that is none of those that fetch opens what somebody waits for, and keeps it', () => {
  const wanted = [40];
  assert.deepEqual(decideShares(view({ wanted, fetcher: false })).open, wanted);
  assert.deepEqual(decideShares(view({ wanted, fetcher: false, open: open(wanted, false) })).release, []);
});
