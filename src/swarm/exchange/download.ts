import { pieceSpan } from '../../metainfo/geometry.ts';
import type { Metainfo } from '../../metainfo/metainfo.ts';
import { PieceContributors } from './piece-contributors.ts';
import type { Peer } from '../peers/peer.ts';
import type { PieceWriter } from '../pieces/piece-writer.ts';
import type { Filling } from '../wire/message-reader.ts';
import { givePieceBuffer } from '../pieces/piece-buffers.ts';
import type { BlockRange } from '../pieces/piece-progress.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import type { Pieces } from '../pieces/pieces.ts';
import type { TransferStats } from '../pieces/transfer-stats.ts';

const NOWHERE: Filling = { target: undefined };

export interface DownloadOptions {
  readonly metainfo: Metainfo;
  readonly pieces: Pieces;
  readonly keeper: PieceWriter;
  readonly tally: TransferStats;
  readonly peers: () => Iterable<Peer>;
  /** It is here, and can be given to others. */
  readonly onVerified: (index: number) => void;
  /** It did not verify, and this peer gave all of it. */
  readonly onLiar: (wire: PeerWire) => void;
  readonly onFailed: (index: number) => void;
}

/** The way of a block into its piece, and of a whole piece through its hash. */
export class Download {
  readonly #options: DownloadOptions;
  readonly #blame = new PieceContributors();

  constructor(options: DownloadOptions) {
    this.#options = options;
  }

  /** Somebody else is giving all of it, after it failed. */
  isForAnother(index: number, { wire }: Peer): boolean {
    return this.#blame.isForAnother(index, wire);
  }

  /** It is gone, or stalls. */
  disown({ wire }: Peer): void {
    this.#blame.disown(wire);
  }

  /** A block begins to arrive: where it goes. What nobody asked for goes nowhere. */
  place({ transfer }: Peer, index: number, offset: number, length: number): Filling {
    if (!transfer.has(index, offset, length)) return NOWHERE;
    return this.#options.pieces.place(index, { offset, length });
  }

  /** Its last byte is here. @returns false: nobody asked for it */
  filled({ wire, transfer }: Peer, index: number, range: BlockRange, filling: Filling): boolean {
    const { pieces, tally } = this.#options;
    const wasAsked = transfer.settle(index, range.offset, range.length);
    const added = wasAsked ? pieces.filled(index, range, filling) : 0;
    tally.wasted += range.length - added;
    if (!wasAsked) return false;
    tally.receivedFromPeers += range.length;
    if (added > 0) this.#blame.gave(index, wire);
    const bytes = pieces.take(index);
    if (bytes !== undefined) this.#finish(index, bytes);
    return true;
  }

  /** Requests that will not be answered: others may be asked. */
  refused(asked: Iterable<BlockRange & { readonly index: number }>): void {
    for (const { index, offset, length } of asked) this.#options.pieces.giveUp(index, { offset, length });
  }

  /** A whole piece from the registry. @returns false when it does not verify */
  fromRegistry(index: number, bytes: Uint8Array): boolean {
    const { pieces, keeper, tally } = this.#options;
    if (pieces.has(index)) {
      tally.wasted += bytes.length;
      givePieceBuffer(bytes);
      return true;
    }
    if (!keeper.verifies(index, bytes)) {
      tally.wasted += bytes.length;
      givePieceBuffer(bytes);
      this.#options.onFailed(index);
      return false;
    }
    // What peers have brought of it meanwhile is of no use.
    tally.wasted += pieces.drop(index);
    this.#verified(index, bytes, 'registry');
    return true;
  }

  #finish(index: number, bytes: Uint8Array): void {
    const { keeper, tally, onFailed, onLiar } = this.#options;
    if (keeper.verifies(index, bytes)) return this.#verified(index, bytes, 'peers');
    tally.wasted += bytes.length;
    givePieceBuffer(bytes);
    const liar = this.#blame.failed(index);
    if (liar !== undefined) onLiar(liar);
    onFailed(index);
  }

  #verified(index: number, bytes: Uint8Array, source: 'peers' | 'registry'): void {
    const { pieces, keeper, tally, peers, metainfo, onVerified } = this.#options;
    const { start, end } = pieceSpan(metainfo.geometry, index);
    pieces.add(index);
    this.#blame.clear(index);
    tally.verified(end - start, source);
    keeper.keep(index, bytes);
    for (const { wire, transfer } of peers()) {
      transfer.cancel((asked) => asked.index === index);
      if (!wire.peerPieces.get(index)) wire.have(index);
    }
    onVerified(index);
  }
}
