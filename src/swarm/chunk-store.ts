import { pieceSpan, type PieceGeometry } from '../metainfo/geometry.ts';
import type { ChunkStore } from 'webtorrent';
import { givePieceBuffer } from './piece-buffers.ts';
import type { PieceStorage } from './swarm-client.ts';

/** The blob's place in the store, as webtorrent sees it (abstract-chunk-store): no copy, no cache. */
export function chunkStore(storage: PieceStorage, geometry: PieceGeometry): ChunkStore {
  return {
    chunkLength: geometry.pieceLength,
    put(index, bytes, done) {
      if (storage.write === undefined) return done(new Error('read-only'));
      const { start } = pieceSpan(geometry, index);
      storage.write(start, bytes).then(() => {
        done(null);
        givePieceBuffer(bytes);
      }, done);
    },
    get(index, options, done) {
      const { start, end } = pieceSpan(geometry, index);
      const offset = options?.offset ?? 0;
      const length = options?.length ?? end - start - offset;
      storage.read(start + offset, length).then((bytes) => done(null, bytes), done);
    },
    // The storage belongs to whoever joined with it.
    close: (done) => done(null),
    destroy: (done) => done(null),
  };
}
