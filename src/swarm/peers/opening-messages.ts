import type { PieceGeometry } from '../../metainfo/geometry.ts';
import type { InfoHash } from '../../metainfo/metainfo.ts';
import { MAX_BLOCK } from '../wire/message-reader.ts';
import { LONGEST_BLOCK, type PeerWire } from '../wire/peer-wire.ts';
import type { Pieces } from '../pieces/pieces.ts';

/** Requests of one peer that may wait here (libtorrent's `reqq`). */
const MAX_WAITING_REQUESTS = 2000;

/**
 * What a node says first on a connection: its handshake, where it did not speak first, what it can do (BEP 10), what it
 * has, and that it may be asked. Nobody is choked: a peer that takes slowly waits for itself.
 */
export function sendOpening(
  wire: PeerWire,
  self: { readonly infoHash: InfoHash; readonly peerId: string; readonly port: number },
  geometry: PieceGeometry,
  pieces: Pieces,
): void {
  // `p`: where it is reached, so that nobody dials whom he is connected with.
  wire.extendedHandshake = {
    p: self.port,
    reqq: MAX_WAITING_REQUESTS,
    [LONGEST_BLOCK]: MAX_BLOCK,
    v: 'quayctl',
  };
  if (wire.incoming) wire.handshake(self.infoHash, self.peerId, { fast: true });
  const count = pieces.count;
  if (wire.hasFast && count === geometry.pieceCount) wire.haveAll();
  else if (wire.hasFast && count === 0) wire.haveNone();
  else if (count > 0) wire.bitfield(pieces.bitfield());
  wire.setKeepAlive(true);
  wire.unchoke();
}
