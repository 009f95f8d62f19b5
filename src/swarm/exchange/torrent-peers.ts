import { shortName } from '../../metainfo/metainfo.ts';
import type { TorrentAdmission } from '../admission/torrent-admission.ts';
import { Connections } from '../peers/connections.ts';
import { Dialer } from '../peers/dialer.ts';
import { sendOpening, type Peer } from '../peers/peer.ts';
import type { TorrentState } from '../peers/torrent-state.ts';
import type { PieceWriter } from '../pieces/piece-writer.ts';
import type { Contact, JoinOptions, Meeting } from '../swarm-client.ts';
import type { SwarmContext } from '../swarm-context.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import { Download } from './download.ts';
import { PiecePicker } from './piece-picker.ts';
import { Uploads } from './uploads.ts';

/** What this node and the peers of one torrent give each other. */
export class TorrentPeers {
  readonly #state: TorrentState;
  readonly #writer: PieceWriter;
  readonly #options: Pick<JoinOptions, 'storage' | 'group'>;
  readonly #context: SwarmContext;
  readonly #connections: Connections;
  readonly #download: Download;
  readonly #picker: PiecePicker;
  readonly #dialer: Dialer;
  #reached = 0;
  /** Why the last attempt to connect to an address failed. */
  readonly #failures = new Map<string, string>();

  constructor(
    state: TorrentState,
    writer: PieceWriter,
    options: Pick<JoinOptions, 'storage' | 'group'>,
    context: SwarmContext,
    admission: TorrentAdmission | undefined,
  ) {
    this.#state = state;
    this.#writer = writer;
    this.#options = options;
    this.#context = context;
    this.#connections = new Connections(state, {
      selfId: context.peerId,
      encryptedOnly: context.encryption === 2,
    });
    this.#download = new Download(state, writer, context.onDebug);
    this.#picker = this.#makePicker();
    this.#dialer = new Dialer({
      ...context,
      infoHash: state.metainfo.infoHash,
      peers: state.metainfo.peers ?? 'any',
      admission,
      limiter: context.downloadLimiter,
      refuses: (address) => this.#connections.refuses(address),
      onWire: (wire, address) => this.accept(wire, address),
      onFailed: (address, why) => {
        this.#failures.set(address, why);
        context.onDebug(`peer ${address} of ${shortName(state.metainfo)} cannot be reached: ${why}`);
      },
    });
    this.#listen();
  }

  /** Dials the peers of related torrents. @returns how many there are */
  dialRelated(): number {
    const { group } = this.#options;
    const addresses = group === undefined ? [] : this.#context.relatedPeers.of(group);
    for (const address of addresses) this.#dialer.add(address);
    return addresses.length;
  }

  get meeting(): Meeting {
    const isOverdue = this.#dialer.isOverdue(performance.now());
    return { known: this.#state.othersNamed, reached: this.#reached, isOverdue };
  }

  contacts(): readonly Contact[] {
    const { pieceCount } = this.#state;
    const connected = [...this.#state.peers.values()].map(
      ({ wire, host, address = host, count }): Contact => {
        return { address, state: 'connected', isTls: wire.tls !== undefined, share: count / pieceCount };
      },
    );
    const met = new Set(connected.map(({ address }) => address));
    const others = [...this.#dialer.addresses].filter(
      (address) => !met.has(address) && !this.#connections.refuses(address),
    );
    return [
      ...connected,
      ...others.map((address): Contact => {
        const why = this.#failures.get(address);
        return { address, state: why === undefined ? 'waiting' : 'failed', why };
      }),
    ];
  }

  /** A connection whose handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    this.#connections.accept(wire, address);
  }

  /** A whole piece from the registry. @returns false when it does not verify */
  fromRegistry(index: number, bytes: Uint8Array): boolean {
    return this.#download.fromRegistry(index, bytes);
  }

  /** Somebody waits for these pieces. */
  want(pieces: readonly number[]): void {
    this.#picker.want(pieces);
  }

  /** @param now milliseconds on the clock of performance.now */
  tick(now: number): void {
    this.#connections.tick(now);
    this.#picker.update();
  }

  /** Nothing more is asked for. */
  stopAsking(): void {
    this.#picker.stop();
  }

  close(): void {
    this.#dialer.stop();
    this.#connections.close();
  }

  #makePicker(): PiecePicker {
    const [writer, download, { pieces }] = [this.#writer, this.#download, this.#state];
    return new PiecePicker(this.#state, {
      get unwritten() {
        return writer.unwritten;
      },
      isForAnother: (index, peer) => pieces.fromRegistry.has(index) || download.isForAnother(index, peer),
    });
  }

  #listen(): void {
    const state = this.#state;
    state.on('peerNamed', (address) => this.#dialer.add(address));
    state.on('trackerFailed', () => this.dialRelated());
    state.on('peerLeft', (peer) => {
      const { offence } = peer.wire;
      this.#debug(peer, 'leaves', offence === undefined ? '' : `, and is banned: ${offence}`);
      this.#picker.update();
    });
    state.on('peerHas', (peer, index) => {
      if (state.has(index)) return;
      if (!peer.wire.amInterested) peer.wire.interested();
      this.#picker.pickPiece(peer, index);
      this.#picker.update();
    });
    state.on('peerChanged', (peer) => {
      this.#remember(peer);
      this.#settleInterest(peer);
      this.#picker.update();
    });
    state.on('peerStalled', (peer) => {
      this.#debug(peer, 'stalls');
      this.#picker.update();
    });
    for (const event of ['pieceVerified', 'pieceFailed', 'registryClosed'] as const) {
      state.on(event, () => this.#picker.update());
    }
    state.on('pieceStored', () => this.#picker.wake());
    state.on('completed', () => {
      for (const peer of [...state.peers.values()]) this.#settleInterest(peer);
    });
  }

  /** The peer is welcome, and extensions have been added: begins to talk with it. */
  greet(peer: Peer): void {
    const { dialLimits, cache, uploadLimiter, peerId, port } = this.#context;
    const { metainfo, pieces, stats } = this.#state;
    dialLimits.answered(peer.host);
    this.#reached++;
    this.#remember(peer);
    const uploads = new Uploads(peer.wire, {
      geometry: metainfo.geometry,
      storage: this.#options.storage,
      has: (index) => pieces.has(index),
      cached: (index) => this.#writer.held(index),
      cache,
      limiter: uploadLimiter,
      onGiven: (bytes) => {
        stats.uploaded += bytes;
        stats.takers.add(peer.peerId);
      },
    });
    this.#converse(peer, uploads);
    sendOpening(peer.wire, { infoHash: metainfo.infoHash, peerId, port }, pieces);
    this.#debug(peer, 'joins');
  }

  /** What passes on one connection, both ways. */
  #converse(peer: Peer, uploads: Uploads): void {
    peer.wire.handle({
      onBlock: (index, offset, length) => this.#download.begin(peer, index, offset, length),
      onFilled: (index, offset, length, filling) => {
        if (!this.#download.finish(peer, index, { offset, length }, filling)) {
          if (!peer.transfer.forgives(length)) peer.wire.reportViolation('blocks that nobody asked for');
          return;
        }
        peer.transfer.observe(length);
        this.#connections.progressed(peer);
        // Topped up at once; a round is for ordering anew.
        this.#picker.pick(peer);
      },
      onRequest: (index, offset, length) => uploads.request(index, offset, length),
      onCancel: (index, offset, length) => uploads.cancel(index, offset, length),
      onReject: (index, offset, length) => {
        const request = peer.transfer.settle(index, offset, length);
        if (request === undefined) return;
        this.#state.emit('requestsLost', [request]);
        this.#connections.refused(peer);
        this.#picker.update();
      },
    });
  }

  /** Where the peer accepts connections, for related torrents. */
  #remember({ address }: Peer): void {
    const { group } = this.#options;
    if (group !== undefined && address !== undefined) this.#context.relatedPeers.add(group, address);
  }

  /** BEP 3: a node says whether it wants something of a peer. Two that have everything part. */
  #settleInterest(peer: Peer): void {
    const { wire, count } = peer;
    const { pieces, pieceCount } = this.#state;
    if (this.#state.wantsOf(peer)) wire.interested();
    else wire.uninterested();
    if (pieces.isComplete && this.#writer.unwritten === 0 && count === pieceCount) wire.destroy();
  }

  #debug({ wire }: Peer, what: string, why = ''): void {
    const address = wire.remoteAddress === undefined ? '?' : `${wire.remoteAddress}:${wire.remotePort}`;
    this.#context.onDebug(`peer ${address} ${what} ${shortName(this.#state.metainfo)}${why}`);
  }
}
