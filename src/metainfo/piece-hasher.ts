import { createHash, type Hash } from 'node:crypto';
import { QuayctlError } from '../base/errors.ts';
import { digestFromHex, type Digest } from '../image/digest.ts';
import { PIECE_HASH_LENGTH, pieceSpan, type PieceGeometry } from './geometry.ts';

/** Both hashes read a stretch while it is in the processor's cache; larger chunks would go through memory twice. */
const STRETCH = 256 * 1024;

/**
 * Piece hashes and digest of a blob in one pass. Chunks may end anywhere and are not copied; they may be reused as
 * soon as `update` returns.
 */
export class PieceHasher {
  readonly #geometry: PieceGeometry;
  readonly #pieces: Uint8Array;
  readonly #whole = createHash('sha256');
  #piece: Hash = createHash('sha1');
  #length = 0;

  constructor(geometry: PieceGeometry) {
    this.#geometry = geometry;
    this.#pieces = new Uint8Array(geometry.pieceCount * PIECE_HASH_LENGTH);
  }

  /** Bytes taken so far. */
  get length(): number {
    return this.#length;
  }

  /** @throws QuayctlError `verification` once there is more than the geometry's length */
  update(chunk: Uint8Array): void {
    const { length, pieceLength } = this.#geometry;
    if (this.#length + chunk.length > length) {
      throw new QuayctlError('verification', `the blob is longer than its ${length} bytes`);
    }
    for (let at = 0; at < chunk.length;) {
      const left = pieceLength - (this.#length % pieceLength);
      const stretch = chunk.subarray(at, at + Math.min(left, STRETCH));
      this.#piece.update(stretch);
      this.#whole.update(stretch);
      this.#length += stretch.length;
      at += stretch.length;
      if (stretch.length === left || this.#length === length) this.#endPiece();
    }
  }

  /** @throws QuayctlError `verification` where bytes are missing */
  finish(): { readonly pieces: Uint8Array; readonly digest: Digest; readonly length: number } {
    const { length } = this.#geometry;
    if (this.#length !== length) {
      throw new QuayctlError('verification', `the blob ends after ${this.#length} of its ${length} bytes`);
    }
    return { pieces: this.#pieces, digest: digestFromHex(this.#whole.digest('hex')), length };
  }

  #endPiece(): void {
    const index = Math.ceil(this.#length / this.#geometry.pieceLength) - 1;
    this.#pieces.set(this.#piece.digest(), index * PIECE_HASH_LENGTH);
    this.#piece = createHash('sha1');
  }
}

/** True where `bytes` are all of piece `index`. @throws RangeError for no such piece */
export function verifyPiece(
  metainfo: { readonly geometry: PieceGeometry; readonly pieces: Uint8Array },
  index: number,
  bytes: Uint8Array,
): boolean {
  const { start, end } = pieceSpan(metainfo.geometry, index);
  if (bytes.length !== end - start) return false;
  const wanted = metainfo.pieces.subarray(index * PIECE_HASH_LENGTH, (index + 1) * PIECE_HASH_LENGTH);
  return createHash('sha1').update(bytes).digest().equals(wanted);
}
