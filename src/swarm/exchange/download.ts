import { pieceSpan } from '../../metainfo/geometry.ts';
import { shortName } from '../../metainfo/metainfo.ts';
import type { Peer } from '../peers/peer.ts';
import type { TorrentState } from '../peers/torrent-state.ts';
import { givePieceBuffer } from '../pieces/piece-buffers.ts';
import type { BlockRange } from '../pieces/piece-progress.ts';
import type { PieceWriter } from '../pieces/piece-writer.ts';
import type { Filling } from '../wire/message-reader.ts';
import type { PeerWire } from '../wire/peer-wire.ts';

const NOWHERE: Filling = { target: undefined };

/** The way of a block into its piece, and of a whole piece, from peers or from the registry, through its hash. */
export class Download {
  readonly #state: TorrentState;
  readonly #writer: PieceWriter;
  readonly #onDebug: (message: string) => void;
  readonly #contributors = new PieceContributors();

  constructor(state: TorrentState, writer: PieceWriter, onDebug: (message: string) => void) {
    this.#state = state;
    this.#writer = writer;
    this.#onDebug = onDebug;
    state.on('requestsLost', (requests) => {
      for (const { index, offset, length } of requests) state.pieces.giveUp(index, { offset, length });
    });
    const disown = ({ wire }: Peer): void => this.#contributors.disown(wire);
    state.on('peerLeft', disown);
    state.on('peerStalled', disown);
  }

  /** Another peer is giving all of the piece, after it failed. */
  isForAnother(index: number, { wire }: Peer): boolean {
    return this.#contributors.isForAnother(index, wire);
  }

  /** A block begins to arrive. @returns where it goes; what was not asked for goes nowhere */
  begin({ transfer }: Peer, index: number, offset: number, length: number): Filling {
    if (!transfer.has(index, offset, length)) return NOWHERE;
    return this.#state.pieces.place(index, { offset, length });
  }

  /** The last byte of a block is here. @returns false: it was not asked for */
  finish({ wire, transfer }: Peer, index: number, range: BlockRange, filling: Filling): boolean {
    const { pieces, stats } = this.#state;
    const wasAsked = transfer.settle(index, range.offset, range.length) !== undefined;
    const added = wasAsked ? pieces.filled(index, range, filling) : 0;
    stats.wasted += range.length - added;
    if (!wasAsked) return false;
    stats.receivedFromPeers += range.length;
    if (added > 0) this.#contributors.gave(index, wire);
    const bytes = pieces.take(index);
    if (bytes !== undefined) this.#checkPiece(index, bytes);
    return true;
  }

  /** A whole piece from the registry, whose bytes belong to the download now. @returns false: it does not verify */
  fromRegistry(index: number, bytes: Uint8Array): boolean {
    const { pieces, stats } = this.#state;
    const isWanted = !pieces.has(index);
    if (isWanted && this.#writer.verifies(index, bytes)) {
      // What peers have brought of it meanwhile is of no use.
      stats.wasted += pieces.drop(index);
      this.#verified(index, bytes, 'registry');
      return true;
    }
    stats.wasted += bytes.length;
    givePieceBuffer(bytes);
    if (isWanted) this.#failed(index);
    return !isWanted;
  }

  #checkPiece(index: number, bytes: Uint8Array): void {
    if (this.#writer.verifies(index, bytes)) return this.#verified(index, bytes, 'peers');
    this.#state.stats.wasted += bytes.length;
    givePieceBuffer(bytes);
    this.#contributors.failed(index)?.reportViolation('a piece that does not verify');
    this.#failed(index);
  }

  #verified(index: number, bytes: Uint8Array, source: 'peers' | 'registry'): void {
    const { pieces, stats, peers, metainfo } = this.#state;
    const { start, end } = pieceSpan(metainfo.geometry, index);
    pieces.add(index);
    this.#contributors.clear(index);
    stats.verified(end - start, source);
    this.#writer.write(index, bytes);
    for (const { wire, transfer } of peers.values()) {
      transfer.cancel((request) => request.index === index);
      if (!wire.peerPieces.get(index)) wire.have(index);
    }
    this.#state.emit('pieceVerified', index);
  }

  #failed(index: number): void {
    this.#onDebug(`piece ${index} of ${shortName(this.#state.metainfo)} did not verify`);
    this.#state.emit('pieceFailed', index);
  }
}

/**
 * Which peers gave blocks of which piece. When a piece does not verify and one peer gave all of it, that peer sent wrong
 * bytes; when there were several, the piece is taken from one peer alone the next time.
 */
class PieceContributors {
  readonly #givers = new Map<number, Set<PeerWire>>();
  /** Pieces that failed with several givers -> the peer that may give them now. */
  readonly #exclusive = new Map<number, PeerWire | undefined>();

  gave(index: number, wire: PeerWire): void {
    let givers = this.#givers.get(index);
    if (givers === undefined) this.#givers.set(index, (givers = new Set()));
    givers.add(wire);
  }

  /** It has verified, or is not wanted of peers any more. */
  clear(index: number): void {
    this.#givers.delete(index);
    this.#exclusive.delete(index);
  }

  /** It did not verify. @returns the peer that sent wrong bytes, where it is known */
  failed(index: number): PeerWire | undefined {
    const [first, ...others] = this.#givers.get(index) ?? [];
    this.#givers.delete(index);
    if (others.length === 0) {
      this.#exclusive.delete(index);
      return first;
    }
    this.#exclusive.set(index, undefined);
    return undefined;
  }

  /** Somebody else is giving all of it. */
  isForAnother(index: number, wire: PeerWire): boolean {
    if (!this.#exclusive.has(index)) return false;
    const owner = this.#exclusive.get(index);
    if (owner === undefined) this.#exclusive.set(index, wire);
    return owner !== undefined && owner !== wire;
  }

  /** It is gone, or brings nothing: others may. */
  disown(wire: PeerWire): void {
    for (const [index, owner] of this.#exclusive) if (owner === wire) this.#exclusive.set(index, undefined);
  }
}
