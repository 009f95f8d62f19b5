import assert from 'node:assert/strict';
import test from 'node:test';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import type { Metainfo } from '../../src/metainfo/metainfo.ts';
import { TorrentState } from '../../src/swarm/peers/torrent-state.ts';
import type { RangeSource } from '../../src/swarm/swarm-client.ts';
import { RegistrySeed } from '../../src/swarm/registry/registry-seed.ts';
import type { Scope } from '../helpers/processes.ts';
import { sample } from './kit.ts';

const PIECE = 2 ** 14;
const PIECES = 6;

function metainfo(): Metainfo {
  return { ...sample(PIECES * PIECE, []).metainfo, geometry: pieceGeometry(PIECES * PIECE, PIECE) };
}

/** A registry that gives a piece of each range at every `step`. */
function openSeed(
  scope: Scope,
  onPiece: (index: number) => void = () => {},
): {
  seed: RegistrySeed;
  asked: string[];
  pieces: number[];
  wasted: () => number;
  step: () => Promise<void>;
} {
  const asked: string[] = [];
  const pieces: number[] = [];
  let tick = Promise.withResolvers<void>();
  const state = new TorrentState(metainfo(), []);
  state.on('registryClosed', () => assert.fail('nothing fails'));
  const source: RangeSource = async function* (start, end, signal) {
    asked.push(`${start / PIECE}-${end / PIECE - 1}`);
    for (let at = start; at < end; at += PIECE) {
      await tick.promise;
      signal.throwIfAborted();
      yield Buffer.alloc(PIECE);
    }
  };
  const seed = new RegistrySeed(state, source, createRateLimiter(0), {
    take: (index) => {
      pieces.push(index);
      onPiece(index);
      return true;
    },
    ready: () => Promise.resolve(),
  });
  scope.after(() => seed.close());
  const step = async (): Promise<void> => {
    const now = tick;
    tick = Promise.withResolvers();
    now.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { seed, asked, pieces, wasted: () => state.stats.wasted, step };
}

test('what is let go and opened anew while its range is on its way is asked for once', async (t) => {
  const { seed, asked, pieces, wasted, step } = openSeed(t);
  seed.fetch([0, 1, 2, 3], 0);
  seed.release([2, 3]);
  seed.fetch([3, 2], 0);
  for (let steps = 0; steps < PIECES; steps++) await step();
  assert.deepEqual(asked, ['0-3']);
  assert.deepEqual(pieces, [0, 1, 2, 3]);
  assert.equal(wasted(), 0);
});

test('a range ends where its next piece was let go, and what lies behind comes in another', async (t) => {
  const { seed, asked, pieces, step } = openSeed(t);
  seed.fetch([0, 1, 2, 3], 0);
  seed.release([1]);
  for (let steps = 0; steps < PIECES; steps++) await step();
  assert.deepEqual(asked, ['0-3', '2-3']);
  assert.deepEqual(pieces, [0, 2, 3]);
  seed.fetch([1], 0);
  await step();
  assert.deepEqual(asked.slice(2), ['1-1']);
});

test('the neighbour behind a range that is at its end is asked for', async (t) => {
  const { seed, asked, pieces, step } = openSeed(t, (index) => {
    if (index === 1) seed.fetch([2], 0);
  });
  seed.fetch([0, 1], 0);
  for (let steps = 0; steps < PIECES; steps++) await step();
  assert.deepEqual(asked, ['0-1', '2-2']);
  assert.deepEqual(pieces, [0, 1, 2]);
});
