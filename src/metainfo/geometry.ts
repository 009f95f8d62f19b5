import { QuayctlError } from '../base/errors.ts';

/** How a blob is cut into pieces (BEP 3). */
export interface PieceGeometry {
  /** Bytes of the blob, > 0. */
  readonly length: number;
  /** Bytes of every piece but the last. */
  readonly pieceLength: number;
  readonly pieceCount: number;
}

/** A piece's SHA-1, bytes. */
export const PIECE_HASH_LENGTH = 20;
/** The smallest piece of the service's torrents, bytes: the size that Quay used. */
const SMALLEST_PIECE = 2 ** 19;
/** The largest piece of the service's torrents, bytes: the most that common BitTorrent clients accept. */
const LARGEST_PIECE = 2 ** 24;
/**
 * The number of pieces below which the piece length stays as small as possible: up to 32 GiB a torrent has 40 KiB of
 * hashes.
 */
const AIMED_PIECES = 2048;
/** One block of the wire protocol; smaller pieces are not requested by anybody. */
const SMALLEST_FOREIGN_PIECE = 2 ** 14;

/**
 * The piece length of docs/protocol.md, "The metainfo", by which every replica makes the same info hash:
 * min(2^24, max(2^19, next power of two of ceil(length / 2048))), bytes.
 */
export function pieceLengthFor(length: number): number {
  let pieceLength = SMALLEST_PIECE;
  const wanted = Math.ceil(length / AIMED_PIECES);
  while (pieceLength < wanted && pieceLength < LARGEST_PIECE) pieceLength *= 2;
  return pieceLength;
}

/**
 * @param length bytes, > 0
 * @param pieceLength bytes; the service's own cut by default
 * @throws QuayctlError `protocol` for an invalid length, or a piece length that is not a power of two from 16 KiB
 *   to 16 MiB
 */
export function pieceGeometry(length: number, pieceLength: number = pieceLengthFor(length)): PieceGeometry {
  if (!Number.isSafeInteger(length) || length <= 0) {
    throw new QuayctlError('protocol', `torrent: length ${length} is not a count of bytes above 0`);
  }
  const power = Number.isInteger(Math.log2(pieceLength));
  if (!power || pieceLength < SMALLEST_FOREIGN_PIECE || pieceLength > LARGEST_PIECE) {
    throw new QuayctlError(
      'protocol',
      `torrent: piece length ${pieceLength} is not a power of two from 2^14 to 2^24`,
    );
  }
  return { length, pieceLength, pieceCount: Math.ceil(length / pieceLength) };
}

/** Where piece `index` lies: bytes `start` (inclusive) to `end` (exclusive). @throws RangeError for no such piece */
export function pieceSpan(
  geometry: PieceGeometry,
  index: number,
): { readonly start: number; readonly end: number } {
  const { length, pieceLength, pieceCount } = geometry;
  if (!Number.isInteger(index) || index < 0 || index >= pieceCount) {
    throw new RangeError(`piece ${index} of ${pieceCount}`);
  }
  const start = index * pieceLength;
  return { start, end: Math.min(start + pieceLength, length) };
}
