import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peerUseOf, type Obstacle } from '../../src/blobs/peer-use.ts';
import { NOTHING, type BlobOutcome } from '../../src/blobs/transfer-ledger.ts';

const met = (known: number, reached: number, isOverdue = false): NonNullable<BlobOutcome['meeting']> => ({
  known,
  reached,
  isOverdue,
});
const of = (outcome: Partial<BlobOutcome>): BlobOutcome => ({ ...NOTHING, ...outcome });
const DOWN: Obstacle = { state: 'unavailable', reason: 'it does not answer', hint: 'start it' };

const CASES: readonly (readonly [string, readonly BlobOutcome[], Obstacle | undefined, string])[] = [
  ['used', [of({ fromPeers: 1, fromRegistry: 9, meeting: met(3, 1) })], undefined, 'peers gave bytes'],
  ['used', [of({ fromPeers: 1 }), of({ fromRegistry: 9 })], DOWN, 'peers gave bytes'],
  ['not-needed', [], undefined, 'nothing had to be fetched'],
  ['not-needed', [of({ fromStore: 5 })], DOWN, 'nothing had to be fetched'],
  [
    'small',
    [of({ fromRegistry: 5 })],
    undefined,
    'only small blobs were fetched, which the registry gives at once',
  ],
  ['alone', [of({ fromRegistry: 5, meeting: met(0, 0) })], undefined, 'no tracker named another node'],
  [
    'idle',
    [of({ fromRegistry: 5, meeting: met(2, 1) })],
    undefined,
    'the peers that were connected had nothing that was still wanted',
  ],
  [
    'unreached',
    [of({ fromRegistry: 5, meeting: met(1, 0, true) })],
    undefined,
    '1 peer is known, and none could be reached',
  ],
  [
    'unreached',
    [of({ fromRegistry: 5, meeting: met(3, 0) })],
    undefined,
    '3 peers are known, and the pull was over before one was connected',
  ],
  ['unavailable', [of({ fromRegistry: 5 })], DOWN, 'it does not answer'],
  // Who is known and not reached is the nearer reason.
  [
    'unreached',
    [of({ fromRegistry: 5, meeting: met(2, 0, true) })],
    DOWN,
    '2 peers are known, and none could be reached',
  ],
];

for (const [state, outcomes, obstacle, reason] of CASES)
  test(`how peers were used: ${state}, ${reason}`, () => {
    const use = peerUseOf(outcomes, obstacle);
    assert.deepEqual([use.state, use.reason], [state, reason]);
  });

test('only what the user can do something about has a hint', () => {
  const hinted = CASES.filter(([, outcomes, obstacle]) => peerUseOf(outcomes, obstacle).hint !== undefined);
  assert.deepEqual(
    hinted.map(([state]) => state),
    ['unreached', 'unavailable', 'unreached'],
  );
});
