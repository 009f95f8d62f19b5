import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { NOTHING } from '../../src/blobs/transfer-ledger.ts';
import { makeReceipt } from '../../src/pull/receipt.ts';

const digest = (text: string) => digestOf(Buffer.from(text));
const layer = (text: string, size: number) => ({ mediaType: 'layer', digest: digest(text), size });

test('each layer adds up to its size, and the total is the sum of the rows', () => {
  const receipt = makeReceipt({
    image: 'quay.io/team/app:1',
    digest: digest('manifest'),
    engine: 'docker',
    layers: [layer('a', 100), layer('b', 50), layer('a', 100), layer('c', 7)],
    outcomes: new Map([
      [digest('a'), { ...NOTHING, fromPeers: 60, fromRegistry: 40, wasted: 5, peers: 3, seconds: 1.23456 }],
      [digest('b'), { ...NOTHING, alreadyInEngine: 50 }],
      [digest('c'), { ...NOTHING, fromStore: 7 }],
    ]),
    p2p: { state: 'used', reason: '' },
    uploaded: 11,
    seconds: 2,
  });
  for (const row of receipt.layers) {
    assert.equal(row.size, row.fromPeers + row.fromRegistry + row.fromStore + row.alreadyInEngine);
  }
  assert.deepEqual(receipt.total, {
    size: 257,
    fromPeers: 60,
    fromRegistry: 40,
    fromStore: 107,
    alreadyInEngine: 50,
    wasted: 5,
    peers: 3,
    uploaded: 11,
    seconds: 2,
  });
  assert.equal(receipt.layers[0]?.seconds, 1.235);
  assert.equal('index' in receipt, false);
});

test('a layer that stands twice was fetched once, unless the engine had it', () => {
  const of = (outcome: object) =>
    makeReceipt({
      image: 'x',
      digest: digest('m'),
      engine: 'docker',
      layers: [layer('a', 9), layer('a', 9)],
      outcomes: new Map([[digest('a'), { ...NOTHING, ...outcome }]]),
      p2p: { state: 'used', reason: '' },
      uploaded: 0,
      seconds: 0,
    }).layers.map(({ fromRegistry, fromStore, alreadyInEngine }) => [
      fromRegistry,
      fromStore,
      alreadyInEngine,
    ]);
  assert.deepEqual(of({ fromRegistry: 9 }), [
    [9, 0, 0],
    [0, 9, 0],
  ]);
  assert.deepEqual(of({ alreadyInEngine: 9 }), [
    [0, 0, 9],
    [0, 0, 9],
  ]);
});
