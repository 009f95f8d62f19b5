import { plainAddress } from '../../base/ip-address.ts';
import type { InfoHash } from '../../metainfo/metainfo.ts';
import type { Pieces } from '../pieces/pieces.ts';
import { MAX_BLOCK } from '../wire/message-reader.ts';
import { LONGEST_BLOCK, type PeerWire } from '../wire/peer-wire.ts';
import type { PeerAddress } from './peer-bans.ts';
import { Transfer } from './transfer.ts';

/** A connected peer. */
export interface Peer extends PeerAddress {
  readonly wire: PeerWire;
  readonly peerId: string;
  readonly transfer: Transfer;
  /** Milliseconds on the clock of performance.now. */
  readonly since: number;
  /** Where it was dialled, or where it says that it is reached (BEP 10, `p`). */
  address: string | undefined;
  /** Pieces that it has. */
  count: number;
  /** Milliseconds: its last block, or the last time when nothing was owed. */
  progressAt: number;
  stalledUntil: number | undefined;
  /** It stalled because it choked us, not for what it owes. */
  stalledByChoke: boolean;
  stalls: number;
  /** Since its last block: how often it unchoked us, and refused a request. */
  unchokes: number;
  refusals: number;
}

export function makePeer(wire: PeerWire, peerId: string, address: string | undefined): Peer {
  return {
    wire,
    peerId,
    transfer: new Transfer(wire),
    since: performance.now(),
    host: hostOf(wire),
    address,
    count: 0,
    progressAt: performance.now(),
    stalledUntil: undefined,
    stalledByChoke: false,
    stalls: 0,
    unchokes: 0,
    refusals: 0,
  };
}

/** As it stands in an address: IPv4 as such, IPv6 in brackets. */
export function hostOf({ remoteAddress = '' }: PeerWire): string {
  const plain = plainAddress(remoteAddress);
  return plain.includes(':') ? `[${plain}]` : plain;
}

export function countOf({ peerPieces }: PeerWire, pieceCount: number): number {
  let count = 0;
  for (let index = 0; index < pieceCount; index++) if (peerPieces.get(index)) count++;
  return count;
}

/** BEP 3: of the right length, and nothing behind the last piece. */
export function isBitfieldOf({ peerPieces: { buffer } }: PeerWire, pieceCount: number): boolean {
  const spare = buffer.length * 8 - pieceCount;
  if (spare < 0 || spare > 7) return false;
  return ((buffer.at(-1) ?? 0) & ((1 << spare) - 1)) === 0;
}

/** Requests of one peer that may wait here, as the extended handshake says (libtorrent's `reqq`). */
const MAX_WAITING_REQUESTS = 2000;

/**
 * What a node says first on a connection: its handshake, where it did not dial, what it supports (BEP 10), what it has,
 * and that it may be asked. Peers are never choked: a slow reader is limited by its own socket's back-pressure.
 */
export function sendOpening(
  wire: PeerWire,
  self: { readonly infoHash: InfoHash; readonly peerId: string; readonly port: number },
  pieces: Pieces,
): void {
  // `p`: where this node is reached, so that nobody dials a peer that is connected already.
  wire.extendedHandshake = {
    p: self.port,
    reqq: MAX_WAITING_REQUESTS,
    [LONGEST_BLOCK]: MAX_BLOCK,
    v: 'quayctl',
  };
  if (wire.incoming) wire.handshake(self.infoHash, self.peerId, { fast: true });
  if (wire.hasFast && pieces.isComplete) wire.haveAll();
  else if (wire.hasFast && pieces.count === 0) wire.haveNone();
  else if (pieces.count > 0) wire.bitfield(pieces.bitfield());
  wire.setKeepAlive(true);
  wire.unchoke();
}
