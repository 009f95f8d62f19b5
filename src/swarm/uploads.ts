import type Wire from 'bittorrent-protocol';
import { pieceSpan, type PieceGeometry } from '../metainfo/geometry.ts';
import { unsentBytes } from './privates.ts';
import type { PieceStorage } from './swarm-client.ts';

/** A peer that takes slowly has so much ready for it, and no more in memory. Bytes. */
const MAX_UNSENT = 512 * 1024;
/** More requests under way than any client keeps; who sends more is no client. */
const MAX_REQUESTS = 4096;
/** BEP 3: requests above 16 KiB are refused by most, above 128 KiB by all. */
const MAX_BLOCK = 128 * 1024;
/** How soon a slow peer is looked at again, milliseconds. */
const LOOK_AGAIN_MS = 10;

type Answer = (error: Error | null, bytes?: Uint8Array) => void;

/**
 * Gives blocks to one peer, in order, no faster than it takes them. In place of webtorrent's own answer, which
 * reads everything that was asked for into memory.
 */
export function serveBlocks(
  wire: Wire,
  geometry: PieceGeometry,
  storage: PieceStorage,
  has: (index: number) => boolean,
): void {
  const queue: { index: number; offset: number; length: number; answer: Answer }[] = [];
  let busy = false;

  const serve = async (): Promise<void> => {
    busy = true;
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      while (unsentBytes(wire) > MAX_UNSENT && !wire.destroyed) await pause();
      if (wire.destroyed) break;
      const { index, offset, length, answer } = next;
      const asked = wire.peerRequests.some(
        (request) => request.piece === index && request.offset === offset && request.length === length,
      );
      if (!asked) continue; // cancelled, or choked meanwhile
      try {
        answer(null, await storage.read(pieceSpan(geometry, index).start + offset, length));
      } catch (error) {
        answer(error instanceof Error ? error : new Error(String(error)));
      }
    }
    queue.length = 0;
    busy = false;
  };

  wire.removeAllListeners('request');
  wire.on('request', (index: number, offset: number, length: number, answer: Answer) => {
    if (!isBlock(geometry, index, offset, length) || queue.length >= MAX_REQUESTS) return wire.destroy();
    if (!has(index)) return answer(new Error('not here'));
    queue.push({ index, offset, length, answer });
    if (!busy) void serve();
  });
}

function isBlock(geometry: PieceGeometry, index: number, offset: number, length: number): boolean {
  if (index < 0 || index >= geometry.pieceCount || offset < 0 || length <= 0 || length > MAX_BLOCK)
    return false;
  const { start, end } = pieceSpan(geometry, index);
  return start + offset + length <= end;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
}
