import assert from 'node:assert/strict';
import test from 'node:test';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { PieceLedger } from '../../src/swarm/piece-ledger.ts';

const BLOCK = 2 ** 14;
const PIECE = 4 * BLOCK;
/** Two whole pieces and 100 bytes. */
const geometry = pieceGeometry(2 * PIECE + 100, PIECE);

test('verified bytes are credited to whoever brought the blocks; all add up to the length', () => {
  const ledger = new PieceLedger(geometry);
  ledger.stored(0);
  ledger.received(1, 0, BLOCK, 'peers');
  ledger.received(1, BLOCK, 3 * BLOCK, 'registry');
  assert.equal(ledger.fromPeers, 0, 'nothing before it has verified');
  ledger.verified(1);
  ledger.received(2, 0, 100, 'peers');
  ledger.verified(2);
  const { fromPeers, fromRegistry, fromStorage, wasted } = ledger;
  assert.deepEqual(
    { fromPeers, fromRegistry, fromStorage, wasted },
    { fromPeers: BLOCK + 100, fromRegistry: 3 * BLOCK, fromStorage: PIECE, wasted: 0 },
  );
  assert.equal(ledger.bytes, geometry.length);
});

test('a block that comes twice is wasted once and credited to the first', () => {
  const ledger = new PieceLedger(geometry);
  ledger.received(0, 0, BLOCK, 'peers');
  ledger.received(0, 0, PIECE, 'registry');
  ledger.verified(0);
  assert.deepEqual([ledger.fromPeers, ledger.fromRegistry, ledger.wasted], [BLOCK, 3 * BLOCK, BLOCK]);
  ledger.received(0, 0, BLOCK, 'peers');
  assert.equal(ledger.wasted, 2 * BLOCK, 'and one that comes after the piece too');
});

test('a piece that did not verify is wasted as a whole', () => {
  const ledger = new PieceLedger(geometry);
  ledger.received(0, 0, PIECE, 'peers');
  ledger.failed(0);
  assert.deepEqual([ledger.fromPeers, ledger.wasted, ledger.has(0)], [0, PIECE, false]);
  ledger.received(2, 0, 100, 'registry');
  ledger.failed(2);
  assert.equal(ledger.wasted, PIECE + 100);
});
