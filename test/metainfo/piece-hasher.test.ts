import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { digestOf } from '../../src/image/digest.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { PieceHasher, verifyPiece } from '../../src/metainfo/piece-hasher.ts';

const KI = 1024;

/** Bytes that differ from piece to piece and come again with the same length. */
function content(length: number): Buffer {
  const stretch = createHash('shake256', { outputLength: Math.min(length, 65_537) })
    .update('quayctl')
    .digest();
  return Buffer.alloc(length, stretch);
}

function piecesOf(bytes: Buffer, pieceLength: number): Buffer {
  const hashes: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieceLength) {
    hashes.push(
      createHash('sha1')
        .update(bytes.subarray(at, at + pieceLength))
        .digest(),
    );
  }
  return Buffer.concat(hashes);
}

describe('pieces and digest do not depend on how the bytes arrive', () => {
  const pieceLength = 16 * KI;
  const lengths = [1, pieceLength - 1, pieceLength, pieceLength + 1, 5 * pieceLength, 600 * KI + 7];
  const chunks = [1000, 4 * KI, pieceLength - 1, pieceLength, pieceLength + 1, 100 * KI, 1024 * KI];
  for (const length of lengths) {
    test(`${length} bytes`, () => {
      const bytes = content(length);
      for (const chunk of chunks) {
        const hasher = new PieceHasher(pieceGeometry(length, pieceLength));
        for (let at = 0; at < length; at += chunk) {
          hasher.update(bytes.subarray(at, at + chunk));
          hasher.update(new Uint8Array());
          assert.equal(hasher.length, Math.min(at + chunk, length));
        }
        const { pieces, digest, length: hashed } = hasher.finish();
        assert.deepEqual(Buffer.from(pieces), piecesOf(bytes, pieceLength), `chunks of ${chunk}`);
        assert.equal(digest, digestOf(bytes));
        assert.equal(hashed, length);
      }
    });
  }

  test('a chunk may be used again as soon as update returns', () => {
    const [bytes, chunk] = [content(40 * KI), new Uint8Array(KI)];
    const hasher = new PieceHasher(pieceGeometry(bytes.length, pieceLength));
    for (let at = 0; at < bytes.length; at += chunk.length) {
      chunk.set(bytes.subarray(at, at + chunk.length));
      hasher.update(chunk);
      chunk.fill(0);
    }
    assert.equal(hasher.finish().digest, digestOf(bytes));
  });
});

test('too few and too many bytes are told', () => {
  const hasher = new PieceHasher(pieceGeometry(10));
  hasher.update(content(9));
  assert.throws(
    () => hasher.finish(),
    (error) => isQuayctlError(error, 'verification') && /9 of its 10/.test(error.message),
  );
  assert.throws(
    () => hasher.update(content(2)),
    (error) => isQuayctlError(error, 'verification'),
  );
});

test('a piece verifies when all of its bytes are right', () => {
  const bytes = content(40 * KI);
  const geometry = pieceGeometry(bytes.length, 16 * KI);
  const metainfo = { geometry, pieces: piecesOf(bytes, geometry.pieceLength) };
  const [first, last] = [bytes.subarray(0, 16 * KI), bytes.subarray(32 * KI)];
  assert.equal(verifyPiece(metainfo, 0, first), true);
  assert.equal(verifyPiece(metainfo, 2, last), true);
  assert.equal(verifyPiece(metainfo, 1, first), false);
  assert.equal(verifyPiece(metainfo, 2, last.subarray(1)), false);
  assert.equal(verifyPiece(metainfo, 2, Buffer.concat([last, Buffer.alloc(1)])), false);
  assert.equal(verifyPiece(metainfo, 0, new Uint8Array()), false);
  const damaged = Buffer.from(first);
  damaged[7] = (damaged[7] ?? 0) ^ 1;
  assert.equal(verifyPiece(metainfo, 0, damaged), false);
  assert.throws(() => verifyPiece(metainfo, 3, first), RangeError);
});
