import { EventEmitter } from 'node:events';
import { pieceSpan } from '../../metainfo/geometry.ts';
import type { Metainfo } from '../../metainfo/metainfo.ts';
import { Pieces } from '../pieces/pieces.ts';
import { TransferStats } from '../pieces/transfer-stats.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import { Availability } from './availability.ts';
import type { Peer } from './peer.ts';
import type { BlockRequest } from './transfer.ts';

/**
 * What can happen to a torrent. Every part of the swarm tells of what it does by these, and listens to what concerns it;
 * `torrent-swarm.ts` shows who listens to what. Listeners are called at once, in the order in which they were added.
 */
export interface TorrentEvents {
  /** A peer is welcome; nothing has been said to it yet, so extensions can still be added. */
  peerJoining: [peer: Peer];
  /** A connection ended. `isGone`: the peer has no other one. */
  peerLeft: [peer: Peer, isGone: boolean];
  /** BEP 3 `have`. */
  peerHas: [peer: Peer, index: number];
  /** The peer has other pieces than before, unchoked this node, or said where it is reached. */
  peerChanged: [peer: Peer];
  /** The peer owes something and brings nothing. */
  peerStalled: [peer: Peer];
  /** A tracker named a peer: `host:port`. */
  peerNamed: [address: string];
  /** A tracker did not answer, or refused. */
  trackerFailed: [];
  /** Requests that will not be answered: others may be asked. */
  requestsLost: [requests: readonly BlockRequest[]];
  /** A piece is here and can be given to others; it need not be on the disk yet. */
  pieceVerified: [index: number];
  /** A piece did not match its hash, and has to come again. */
  pieceFailed: [index: number];
  /** A piece is in the storage. */
  pieceStored: [index: number];
  /** Pieces are about to be chosen: time for decisions about the registry. */
  choosing: [];
  /** Pieces came back from the registry without their bytes. */
  registryClosed: [pieces: readonly number[]];
  /** The registry is not asked any more. */
  registryLost: [reason: unknown];
  /** All pieces are in the storage. */
  completed: [];
  /** The download cannot go on. */
  failed: [error: unknown];
}

/** What is known of one torrent: which pieces are here, which are on their way, who is connected and has which. */
export class TorrentState extends EventEmitter<TorrentEvents> {
  readonly metainfo: Metainfo;
  readonly pieces: Pieces;
  readonly availability: Availability;
  readonly stats = new TransferStats();
  /** Connected peers; added and removed by Connections. */
  readonly peers = new Map<PeerWire, Peer>();
  /** Nodes that miss pieces, this one included, as a tracker counts them; undefined: not known. */
  swarmSize: number | undefined;
  /** The most nodes besides this one that a tracker named in one answer. */
  othersNamed = 0;

  /** @param stored pieces that are in the storage and have verified */
  constructor(metainfo: Metainfo, stored: readonly number[]) {
    super();
    this.metainfo = metainfo;
    this.pieces = new Pieces(metainfo.geometry, stored);
    this.availability = new Availability(metainfo.geometry.pieceCount);
    for (const index of stored) {
      const { start, end } = pieceSpan(metainfo.geometry, index);
      this.stats.fromStorage += end - start;
    }
  }

  get pieceCount(): number {
    return this.metainfo.geometry.pieceCount;
  }

  /** Verified here. */
  has(index: number): boolean {
    return this.pieces.has(index);
  }

  /** How many connected peers that are not stalled have the piece. */
  holders(index: number): number {
    return this.availability.of(index);
  }

  /** Blocks of it have been asked of peers. */
  begun(index: number): boolean {
    return this.pieces.begun.has(index);
  }

  /** Bytes that came from peers. */
  get fromPeers(): number {
    return this.stats.receivedFromPeers;
  }

  /** Connected peers that are not stalled. */
  get activePeers(): number {
    return this.availability.wires.size;
  }

  /** How many missing pieces no peer has. */
  countUnreachable(): number {
    let count = 0;
    for (let index = 0; index < this.pieceCount; index++)
      if (!this.has(index) && this.holders(index) === 0) count++;
    return count;
  }

  /** The peer has something that this node lacks. */
  wantsOf({ wire: { peerPieces } }: Peer): boolean {
    for (let index = 0; index < this.pieceCount; index++)
      if (peerPieces.get(index) && !this.has(index)) return true;
    return false;
  }
}
