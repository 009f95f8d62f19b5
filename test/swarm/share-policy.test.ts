import assert from 'node:assert/strict';
import test from 'node:test';
import { goesBefore, rendezvousOrder } from '../../src/swarm/rendezvous.ts';
import { claimLifetime, decideShares, type OpenPiece, type ShareView } from '../../src/swarm/share-policy.ts';

const MIB = 2 ** 20;
const SELF = 'self';

function view(changes: Partial<ShareView> = {}): ShareView {
  return {
    selfId: SELF,
    now: 0,
    pieceLength: MIB,
    pieceCount: 64,
    order: rendezvousOrder(64, SELF),
    has: () => false,
    open: new Map(),
    held: () => false,
    claimers: () => [],
    resting: () => false,
    peers: 1,
    expecting: false,
    backlogMs: 0,
    settled: true,
    peerRate: 0,
    registryRate: undefined,
    pieceMs: undefined,
    ...changes,
  };
}

const open = (pieces: readonly number[], requested: boolean): Map<number, OpenPiece> =>
  new Map(pieces.map((index) => [index, { requested }]));

test('a node that waits for the tracker opens nothing', () => {
  assert.deepEqual(decideShares(view({ peers: 0, settled: false })), { open: [], release: [] });
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

test('a node that expects peers opens a few pieces, not everything', () => {
  assert.equal(decideShares(view({ peers: 0, expecting: true })).open.length, 2);
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

test('what is here, held by a peer, claimed by a peer, or resting, is not opened', () => {
  const free = new Set([3, 4]);
  for (const taken of ['has', 'held', 'resting'] as const) {
    const decision = decideShares(view({ [taken]: (index: number) => !free.has(index), pieceMs: 1 }));
    assert.deepEqual(
      decision.open.toSorted((a, b) => a - b),
      [3, 4],
      taken,
    );
  }
  const claimed = decideShares(
    view({ claimers: (index) => (free.has(index) ? [] : [{ peer: 'other', fetching: false }]), pieceMs: 1 }),
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

test('of two claims of one moment the better weight keeps the piece, unless its bytes are on their way', () => {
  const index = 5;
  const [better, worse] = goesBefore(index, SELF, 'other') ? [SELF, 'other'] : ['other', SELF];
  for (const requested of [false, true]) {
    for (const self of [better, worse]) {
      const rival = self === better ? worse : better;
      const { release } = decideShares(
        view({
          selfId: self,
          open: open([index], requested),
          claimers: (i) => (i === index ? [{ peer: rival, fetching: false }] : []),
        }),
      );
      assert.deepEqual(release, self === worse && !requested ? [index] : [], `${self} ${requested}`);
    }
  }
});

test('a piece whose bytes are on their way to a peer is let go, whatever the weights', () => {
  const claimers = (): { peer: string; fetching: boolean }[] => [{ peer: 'other', fetching: true }];
  assert.deepEqual(decideShares(view({ open: open([1, 2], false), claimers })).release, [1, 2]);
});

test('a node that is no longer alone lets its long run go, but for its first pieces', () => {
  const run = new Map<number, OpenPiece>([...open([8], true), ...open([9, 10, 11, 12, 13], false)]);
  assert.deepEqual(decideShares(view({ open: run })).release, [10, 11, 12, 13]);
});

test('peers are left what they have, unless they would take long and the registry is clearly faster', () => {
  const slow = { held: () => true, peerRate: 100_000, backlogMs: 5000 };
  assert.equal(decideShares(view({ ...slow, peerRate: 50_000_000 })).open.length, 0);
  assert.equal(decideShares(view({ ...slow, backlogMs: 1000, registryRate: 1e8 })).open.length, 0);
  assert.equal(
    decideShares(view({ ...slow, registryRate: undefined })).open.length,
    1,
    'one to learn the rate',
  );
  assert.equal(decideShares(view({ ...slow, registryRate: 150_000 })).open.length, 0);
  assert.equal(decideShares(view({ ...slow, registryRate: 40_000_000 })).open.length, 2);
});

test('a decision stands when it is carried out: what was opened because peers are slow is not let go again', () => {
  const slow = { held: () => true, peerRate: 100_000, backlogMs: 5000 };
  for (const registryRate of [undefined, 40_000_000]) {
    const first = decideShares(view({ ...slow, registryRate }));
    assert.ok(first.open.length > 0);
    const second = decideShares(view({ ...slow, registryRate, open: open(first.open, false) }));
    assert.deepEqual(second, { open: [], release: [] });
  }
});

test('a claim is believed for 15 s, or four times the time of a piece', () => {
  assert.equal(claimLifetime(undefined), 15_000);
  assert.equal(claimLifetime(1000), 15_000);
  assert.equal(claimLifetime(10_000), 40_000);
});
