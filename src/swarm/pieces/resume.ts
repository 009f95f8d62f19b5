import { createHash } from 'node:crypto';
import type { Metainfo } from '../../metainfo/metainfo.ts';
import { PIECE_HASH_LENGTH, pieceSpan } from '../../metainfo/geometry.ts';
import type { PieceStorage } from '../swarm-client.ts';

/**
 * The pieces that are in the storage and verify; what the storage does not claim to have is not read. One piece
 * in memory at a time.
 * @throws what the storage throws, and the signal's reason
 */
export async function verifyStored(
  metainfo: Metainfo,
  storage: PieceStorage,
  signal: AbortSignal,
): Promise<number[]> {
  const verified: number[] = [];
  for (let index = 0; index < metainfo.geometry.pieceCount; index++) {
    const { start, end } = pieceSpan(metainfo.geometry, index);
    if (storage.has?.(start, end) === false) continue;
    signal.throwIfAborted();
    const hash = createHash('sha1')
      .update(await storage.read(start, end - start))
      .digest();
    const at = index * PIECE_HASH_LENGTH;
    if (hash.equals(metainfo.pieces.subarray(at, at + PIECE_HASH_LENGTH))) verified.push(index);
  }
  return verified;
}
