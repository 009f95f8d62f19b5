import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { pieceGeometry, pieceLengthFor, pieceSpan } from '../../src/metainfo/geometry.ts';

const [KI, MI, GI] = [2 ** 10, 2 ** 20, 2 ** 30];

describe('the piece length is the one of the protocol', () => {
  // length, piece length, pieces
  const table: [number, number, number][] = [
    [1, 512 * KI, 1],
    [512 * KI, 512 * KI, 1],
    [512 * KI + 1, 512 * KI, 2],
    [GI, 512 * KI, 2048],
    [GI + 1, MI, 1025],
    [2 * GI, MI, 2048],
    [3 * GI, 2 * MI, 1536],
    [32 * GI, 16 * MI, 2048],
    [32 * GI + 1, 16 * MI, 2049],
    [1024 * GI, 16 * MI, 65536],
    [Number.MAX_SAFE_INTEGER, 16 * MI, 2 ** 29],
  ];
  for (const [length, pieceLength, pieceCount] of table) {
    test(`${length} bytes: ${pieceCount} of ${pieceLength}`, () => {
      assert.equal(pieceLengthFor(length), pieceLength);
      assert.deepEqual(pieceGeometry(length), { length, pieceLength, pieceCount });
    });
  }

  test('it is min(2^24, max(2^19, next power of two of ceil(length / 2048))) everywhere', () => {
    for (let length = 1; length < 2 ** 37; length = Math.ceil(length * 1.37) + 1) {
      const nextPower = 2 ** Math.ceil(Math.log2(Math.ceil(length / 2048)));
      assert.equal(pieceLengthFor(length), Math.min(2 ** 24, Math.max(2 ** 19, nextPower)), `${length}`);
    }
  });
});

test('the spans of the pieces are the blob, without gaps', () => {
  for (const length of [1, 512 * KI, 512 * KI + 1, 5 * MI - 1]) {
    const geometry = pieceGeometry(length, 256 * KI);
    let at = 0;
    for (let index = 0; index < geometry.pieceCount; index++) {
      const { start, end } = pieceSpan(geometry, index);
      assert.equal(start, at);
      assert.ok(end > start && end - start <= geometry.pieceLength);
      at = end;
    }
    assert.equal(at, length);
    for (const index of [-1, geometry.pieceCount, 0.5, Number.NaN]) {
      assert.throws(() => pieceSpan(geometry, index), RangeError);
    }
  }
});

test('foreign piece lengths are powers of two from 16 KiB to 16 MiB', () => {
  for (const pieceLength of [16 * KI, 64 * KI, 16 * MI])
    assert.equal(pieceGeometry(1, pieceLength).pieceCount, 1);
  for (const pieceLength of [
    0,
    1,
    -16384,
    8 * KI,
    16 * KI + 1,
    48 * KI,
    32 * MI,
    2 ** 53,
    Number.NaN,
    Infinity,
  ]) {
    assert.throws(
      () => pieceGeometry(1, pieceLength),
      (error) => isQuayctlError(error, 'protocol'),
    );
  }
  for (const length of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
    assert.throws(
      () => pieceGeometry(length),
      (error) => isQuayctlError(error, 'protocol'),
    );
  }
});
