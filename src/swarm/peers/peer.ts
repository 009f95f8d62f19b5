import { plainAddress } from '../../base/ip-address.ts';
import type { PeerAddress } from './peer-bans.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
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
