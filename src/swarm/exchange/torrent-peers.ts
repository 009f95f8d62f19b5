import { shortName } from '../../metainfo/metainfo.ts';
import type { Availability } from '../peers/availability.ts';
import { Connections } from '../peers/connections.ts';
import { Dialer } from '../peers/dialer.ts';
import { Download } from './download.ts';
import { sendOpening } from '../peers/opening-messages.ts';
import type { PieceWriter } from '../pieces/piece-writer.ts';
import type { Peer } from '../peers/peer.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import { PiecePicker } from './piece-picker.ts';
import type { Pieces } from '../pieces/pieces.ts';
import type { JoinOptions } from '../swarm-client.ts';
import type { SwarmContext } from '../swarm-context.ts';
import type { TransferStats } from '../pieces/transfer-stats.ts';
import { Uploads } from './uploads.ts';

export interface ExchangeOptions extends Pick<JoinOptions, 'metainfo' | 'storage'> {
  readonly context: SwarmContext;
  readonly pieces: Pieces;
  readonly availability: Availability;
  readonly keeper: PieceWriter;
  readonly tally: TransferStats;
  /** Before our handshake goes out, where it has not: time for extensions. */
  readonly onJoined: (wire: PeerWire) => void;
  /** `gone`: the peer, when it was its only connection. */
  readonly onLeft: (wire: PeerWire, gone: string | undefined) => void;
  readonly onHave: (wire: PeerWire, index: number) => void;
  readonly onVerified: (index: number) => void;
  /** Before pieces are chosen anew: time for decisions about the registry. */
  readonly onRound: () => void;
  /** The registry brings it: peers are not asked. */
  readonly isTaken: (index: number) => boolean;
}

/** What this node and its peers give each other. */
export class TorrentPeers {
  readonly #options: ExchangeOptions;
  readonly #connections: Connections;
  readonly #download: Download;
  readonly #picker: PiecePicker;
  readonly #dialler: Dialer;
  #complete = false;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#connections = this.#makeConnections();
    this.#download = this.#makeDownload();
    this.#picker = this.#makePicker();
    this.#dialler = this.#makeDialler();
  }

  /** Connected peers. */
  get size(): number {
    return this.#connections.size;
  }

  peerOf(wire: PeerWire): Peer | undefined {
    return this.#connections.peerOf(wire);
  }

  /** @param address `host:port` of a peer that a tracker names */
  dial(address: string): void {
    this.#dialler.add(address);
  }

  /** A connection whose handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    this.#connections.accept(wire, address);
  }

  /** A whole piece from the registry. @returns false when it does not verify */
  fromRegistry(index: number, bytes: Uint8Array): boolean {
    return this.#download.fromRegistry(index, bytes);
  }

  /** There may be something to ask for. */
  update(): void {
    this.#picker.update();
  }

  /** The disk has caught up. */
  wake(): void {
    this.#picker.wake();
  }

  /** Somebody waits for these pieces. */
  want(pieces: readonly number[]): void {
    this.#picker.want(pieces);
  }

  tick(now: number): void {
    this.#connections.tick(now);
    this.#picker.update();
  }

  /** Nothing more is asked for. */
  quiet(): void {
    this.#picker.stop();
  }

  /** Everything is here: from now on this node only gives. */
  completed(): void {
    this.#complete = true;
    for (const peer of this.#connections.peers) this.#settleInterest(peer);
  }

  close(): void {
    this.#dialler.stop();
    this.#connections.close();
  }

  #makeConnections(): Connections {
    const { metainfo, storage } = this.#options;
    const { peerId, port, encryption, uploadLimiter, onDebug } = this.#options.context;
    return new Connections({
      selfId: peerId,
      pieceCount: metainfo.geometry.pieceCount,
      encryptedOnly: encryption === 2,
      availability: this.#options.availability,
      events: {
        onJoined: (peer) => {
          this.#options.onJoined(peer.wire);
          this.#converse(
            peer,
            new Uploads(peer.wire, {
              geometry: metainfo.geometry,
              storage,
              has: (index) => this.#options.pieces.has(index),
              cached: (index) => this.#options.keeper.held(index),
              cache: this.#options.context.cache,
              limiter: uploadLimiter,
              onGiven: (bytes) => (this.#options.tally.uploaded += bytes),
            }),
          );
          sendOpening(
            peer.wire,
            { infoHash: this.#options.metainfo.infoHash, peerId, port },
            metainfo.geometry,
            this.#options.pieces,
          );
          onDebug(`peer ${addressOf(peer)} joins ${shortName(metainfo)}`);
        },
        onLeft: (peer, gone) => {
          this.#options.onLeft(peer.wire, gone);
          const { offence } = peer.wire;
          const why = offence === undefined ? '' : `, and is banned: ${offence}`;
          onDebug(`peer ${addressOf(peer)} leaves ${shortName(metainfo)}${why}`);
          this.#withdraw(peer);
        },
        onHave: (peer, index) => {
          this.#options.onHave(peer.wire, index);
          if (this.#options.pieces.has(index)) return;
          if (!peer.wire.amInterested) peer.wire.interested();
          this.#picker.pickPiece(peer, index);
          this.#picker.update();
        },
        onChanged: (peer) => {
          this.#settleInterest(peer);
          this.#picker.update();
        },
        onRefused: (_peer, asked) => this.#download.refused(asked),
        onStalled: (peer) => {
          onDebug(`peer ${addressOf(peer)} stalls`);
          this.#withdraw(peer);
        },
      },
    });
  }

  /** What passes on one connection, both ways. */
  #converse(peer: Peer, uploads: Uploads): void {
    peer.wire.handle({
      onBlock: (index, offset, length) => this.#download.place(peer, index, offset, length),
      onFilled: (index, offset, length, filling) => {
        if (!this.#download.filled(peer, index, { offset, length }, filling)) {
          if (!peer.transfer.forgives(length)) peer.wire.reportViolation('blocks that nobody asked for');
          return;
        }
        peer.transfer.observe(length);
        this.#connections.progressed(peer);
        // Topped up at once; a round is for choosing anew.
        this.#picker.pick(peer);
      },
      onRequest: (index, offset, length) => uploads.request(index, offset, length),
      onCancel: (index, offset, length) => uploads.cancel(index, offset, length),
      onReject: (index, offset, length) => {
        if (!peer.transfer.settle(index, offset, length)) return;
        this.#download.refused([{ index, offset, length }]);
        this.#connections.refused(peer);
        this.#picker.update();
      },
    });
  }

  /** Others may bring what was asked of it. */
  #withdraw(peer: Peer): void {
    this.#download.disown(peer);
    this.#picker.update();
  }

  /** BEP 3: who wants nothing of a peer says so. Two that have everything want nothing of each other. */
  #settleInterest({ wire, count }: Peer): void {
    const { pieceCount } = this.#options.metainfo.geometry;
    if (this.#wantsOf(wire)) wire.interested();
    else wire.uninterested();
    if (this.#complete && count === pieceCount) wire.destroy();
  }

  #wantsOf({ peerPieces }: PeerWire): boolean {
    const { pieceCount } = this.#options.metainfo.geometry;
    for (let index = 0; index < pieceCount; index++) {
      if (peerPieces.get(index) && !this.#options.pieces.has(index)) return true;
    }
    return false;
  }

  #makeDownload(): Download {
    return new Download({
      metainfo: this.#options.metainfo,
      pieces: this.#options.pieces,
      keeper: this.#options.keeper,
      tally: this.#options.tally,
      peers: () => this.#connections.peers,
      onVerified: (index) => {
        this.#options.onVerified(index);
        this.#picker.update();
      },
      onLiar: (wire) => wire.reportViolation('a piece that does not verify'),
      onFailed: (index) => {
        this.#options.context.onDebug(
          `piece ${index} of ${shortName(this.#options.metainfo)} did not verify`,
        );
        this.#picker.update();
      },
    });
  }

  #makePicker(): PiecePicker {
    return new PiecePicker({
      ...this.#options.metainfo.geometry,
      pieces: this.#options.pieces,
      availability: this.#options.availability,
      peers: () => this.#connections.peers,
      leaves: (index, peer) => this.#options.isTaken(index) || this.#download.isForAnother(index, peer),
      unwritten: () => this.#options.keeper.unwritten,
      onRound: () => this.#options.onRound(),
    });
  }

  #makeDialler(): Dialer {
    return new Dialer({
      ...this.#options.context,
      infoHash: this.#options.metainfo.infoHash,
      limiter: this.#options.context.downloadLimiter,
      refuses: (address) => this.#connections.refuses(address),
      onWire: (wire, address) => this.accept(wire, address),
    });
  }
}

function addressOf({ wire }: Peer): string {
  return wire.remoteAddress === undefined ? '?' : `${wire.remoteAddress}:${wire.remotePort}`;
}
