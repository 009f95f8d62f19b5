import { QuayctlError } from '../base/errors.ts';
import { pieceSpan } from '../metainfo/geometry.ts';
import type { InfoHash } from '../metainfo/metainfo.ts';
import { Announcer } from './announcer.ts';
import { Availability } from './availability.ts';
import { useClaims } from './claims-extension.ts';
import { Connections } from './connections.ts';
import { Dialler } from './dialler.ts';
import { Download } from './download.ts';
import { introduce } from './introduction.ts';
import { Keeper } from './keeper.ts';
import { LastPath, shortName } from './last-path.ts';
import type { Peer } from './peer.ts';
import type { PeerWire } from './peer-wire.ts';
import { PiecePicker } from './piece-picker.ts';
import { Pieces } from './pieces.ts';
import { RegistrySeed } from './registry-seed.ts';
import { Shares } from './shares.ts';
import type { JoinOptions, Swarm, SwarmStats } from './swarm-client.ts';
import type { SwarmContext } from './swarm-context.ts';
import { Rate, Tally } from './tally.ts';
import { TrackerTokens } from './tracker-tokens.ts';
import { isSupportedTracker } from './tracker.ts';
import { Uploads } from './uploads.ts';

const TICK_MS = 500;
/** A node without peers opens the registry no later than this after its first announce. */
const WAIT_FOR_TRACKER_MS = 500;

/** One torrent: the wiring between peers, the registry, the trackers and the choices. */
export class TorrentSwarm implements Swarm {
  readonly infoHash: InfoHash;
  readonly done: Promise<void>;
  readonly #done = Promise.withResolvers<void>();
  readonly #options: JoinOptions;
  readonly #context: SwarmContext;
  readonly #tally = new Tally();
  readonly #downloadRate = new Rate(() => this.#tally.receivedFromPeers);
  readonly #uploadRate = new Rate(() => this.#tally.uploaded);
  readonly #pieces: Pieces;
  readonly #availability: Availability;
  readonly #keeper: Keeper;
  readonly #download: Download;
  readonly #connections: Connections;
  readonly #picker: PiecePicker;
  readonly #registry: RegistrySeed | undefined;
  readonly #shares: Shares<PeerWire>;
  readonly #dialler: Dialler;
  readonly #announcer: Announcer;
  readonly #lastPath: LastPath;
  readonly #onLeft: () => void;
  readonly #timers: NodeJS.Timeout[] = [];
  #ticked = 0;
  #complete = false;
  #leaving: Promise<void> | undefined;

  /** @param stored pieces that are in the storage and have verified */
  constructor(options: JoinOptions, stored: readonly number[], context: SwarmContext, onLeft: () => void) {
    const { metainfo, storage } = options;
    const { geometry, infoHash } = metainfo;
    this.#options = options;
    this.#context = context;
    this.#onLeft = onLeft;
    this.infoHash = infoHash;
    this.done = this.#done.promise;
    this.done.catch(() => {}); // a seeding node does not look
    this.#pieces = new Pieces(geometry, stored);
    for (const index of stored) this.#tally.fromStorage += this.#lengthOf(index);
    this.#availability = new Availability(geometry.pieceCount);
    this.#keeper = new Keeper({
      metainfo,
      storage,
      cache: context.cache,
      onIdle: () => this.#finishIfComplete(),
      onError: (error) => this.#fail(error),
    });
    this.#connections = this.#makeConnections();
    this.#download = this.#makeDownload();
    this.#registry = this.#makeRegistry();
    this.#picker = this.#makePicker();
    this.#shares = this.#makeShares();
    this.#dialler = this.#makeDialler();
    this.#announcer = this.#makeAnnouncer();
    this.#lastPath = new LastPath(options, {
      has: (index) => this.#pieces.has(index),
      held: (index) => this.#availability.of(index) > 0,
      registry: this.#registry,
    });
  }

  begin(): void {
    const { signal } = this.#options;
    this.#announcer.start();
    this.#finishIfComplete();
    if (this.#complete) return;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) return this.#onAbort();
    this.#lastPath.moved();
    this.#timers.push(
      setInterval(() => this.#tick(), TICK_MS),
      setTimeout(() => this.#shares.early(), this.#shares.earlyMs),
      setTimeout(() => this.#shares.settle(), WAIT_FOR_TRACKER_MS),
    );
    void this.#announcer.firstAnswer.then((company) => {
      if (company === 'nobody') this.#shares.settle();
      else this.#shares.expect(company === 'seeds');
    });
  }

  /** A connection whose handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    if (this.#leaving === undefined) this.#connections.accept(wire, address);
    else wire.destroy();
  }

  stats(): SwarmStats {
    const { fromPeers, fromRegistry, fromStorage, wasted, uploaded } = this.#tally;
    const isOver = this.#leaving !== undefined;
    return {
      fromPeers,
      fromRegistry,
      fromStorage,
      wasted,
      uploaded,
      peers: this.#connections.size,
      downloadRate: isOver ? 0 : this.#downloadRate.perSecond + this.#shares.registrySpeed,
      uploadRate: isOver ? 0 : this.#uploadRate.perSecond,
    };
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    // Without effect when it is done, or has failed.
    this.#done.reject(new QuayctlError('interrupted', 'the swarm was left'));
    this.#quiet();
    this.#dialler.stop();
    this.#connections.close();
    this.#keeper.close();
    await this.#announcer.stop();
    this.#onLeft();
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#options.signal.reason;
    const isOurs = reason instanceof QuayctlError;
    this.#fail(isOurs ? reason : new QuayctlError('interrupted', 'interrupted', { cause: reason }));
  };

  #fail(error: unknown): void {
    if (this.#complete) return;
    this.#done.reject(error);
    void this.leave();
  }

  /** Nothing more is to be fetched. */
  #quiet(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#picker.stop();
    this.#registry?.close();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
  }

  #finishIfComplete(): void {
    if (this.#complete || !this.#pieces.isComplete || !this.#keeper.isIdle) return;
    this.#complete = true;
    this.#quiet();
    for (const peer of this.#connections.peers) this.#settleInterest(peer);
    if (this.#tally.fromStorage < this.#options.metainfo.geometry.length) this.#announcer.completed();
    this.#done.resolve();
  }

  #makeConnections(): Connections {
    const { metainfo, storage } = this.#options;
    const { peerId, port, encryption, uploadLimiter, onDebug } = this.#context;
    return new Connections({
      selfId: peerId,
      pieceCount: metainfo.geometry.pieceCount,
      encryptedOnly: encryption === 2,
      availability: this.#availability,
      events: {
        onJoined: (peer) => {
          this.#shares.joined(peer.wire);
          this.#converse(
            peer,
            new Uploads(peer.wire, {
              geometry: metainfo.geometry,
              storage,
              has: (index) => this.#pieces.has(index),
              cached: (index) => this.#keeper.held(index),
              limiter: uploadLimiter,
              onGiven: (bytes) => (this.#tally.uploaded += bytes),
            }),
          );
          introduce(peer.wire, { infoHash: this.infoHash, peerId, port }, metainfo.geometry, this.#pieces);
          onDebug(`peer ${addressOf(peer)} joins ${shortName(metainfo)}`);
        },
        onLeft: (peer, gone) => {
          this.#shares.left(peer.wire, gone);
          const { offence } = peer.wire;
          const why = offence === undefined ? '' : `, and is banned: ${offence}`;
          onDebug(`peer ${addressOf(peer)} leaves ${shortName(metainfo)}${why}`);
          this.#withdraw(peer);
        },
        onHave: (peer, index) => {
          this.#shares.hasPiece(peer.wire, index);
          if (this.#pieces.has(index)) return;
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
          if (!peer.transfer.forgives(length)) peer.wire.offend('blocks that nobody asked for');
          return;
        }
        peer.transfer.observe(length);
        this.#connections.progressed(peer);
        // Topped up at once; a round is for choosing anew.
        this.#picker.pick(peer);
      },
      onRequest: (index, offset, length) => uploads.ask(index, offset, length),
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
      if (peerPieces.get(index) && !this.#pieces.has(index)) return true;
    }
    return false;
  }

  #makeDownload(): Download {
    return new Download({
      metainfo: this.#options.metainfo,
      pieces: this.#pieces,
      keeper: this.#keeper,
      tally: this.#tally,
      peers: () => this.#connections.peers,
      onVerified: (index) => {
        this.#registry?.release([index]);
        this.#lastPath.moved();
        this.#picker.update();
      },
      onLiar: (wire) => wire.offend('a piece that does not verify'),
      onFailed: (index) => {
        this.#context.onDebug(`piece ${index} of ${shortName(this.#options.metainfo)} did not verify`);
        this.#picker.update();
      },
    });
  }

  #makePicker(): PiecePicker {
    return new PiecePicker({
      ...this.#options.metainfo.geometry,
      pieces: this.#pieces,
      availability: this.#availability,
      peers: () => this.#connections.peers,
      leaves: (index, peer) =>
        this.#registry?.open.has(index) === true || this.#download.isForAnother(index, peer),
      isFull: () => this.#keeper.isFull,
      onRound: () => this.#shares.decide(),
    });
  }

  #makeShares(): Shares<PeerWire> {
    const { geometry } = this.#options.metainfo;
    return new Shares({
      selfId: this.#context.peerId,
      infoHash: this.infoHash,
      geometry,
      availability: this.#availability,
      has: (index) => this.#pieces.has(index),
      peerIdOf: (wire) => this.#connections.peerOf(wire)?.peerId ?? '',
      countOf: (wire) => this.#connections.peerOf(wire)?.count ?? 0,
      link: (wire, handlers) => useClaims(wire, geometry.pieceCount, handlers),
      registry: this.#registry,
      swarmSize: () => this.#announcer.missing,
    });
  }

  #makeRegistry(): RegistrySeed | undefined {
    const { registry, metainfo } = this.#options;
    if (registry === undefined) return undefined;
    return new RegistrySeed({
      source: registry,
      geometry: metainfo.geometry,
      limiter: this.#context.downloadLimiter,
      onPiece: (index, bytes) => this.#download.fromRegistry(index, bytes),
      ready: (signal) => this.#keeper.ready(signal),
      onWasted: (bytes) => (this.#tally.wasted += bytes),
      onClosed: (indexes) => {
        this.#shares.closed(indexes);
        if (this.#registry?.lost !== undefined) this.#registryLost(this.#registry.lost);
        this.#picker.update();
      },
    });
  }

  #registryLost(why: unknown): void {
    const reason = why instanceof QuayctlError ? why.message : 'it failed';
    this.#context.onWarning(`the registry is no longer asked: ${reason}`);
    this.#lastPath.moved();
    this.#announcer.hurry();
  }

  #makeDialler(): Dialler {
    return new Dialler({
      ...this.#context,
      infoHash: this.infoHash,
      limiter: this.#context.downloadLimiter,
      refuses: (address) => this.#connections.refuses(address),
      onWire: (wire, address) => this.accept(wire, address),
    });
  }

  #makeAnnouncer(): Announcer {
    const { metainfo, trackers, renewTrackers } = this.#options;
    const { peerId, port, gate, http, announceIp, onWarning } = this.#context;
    // A `--tracker` override is shown no token, so there is none to renew.
    const renew = trackers === undefined ? renewTrackers : undefined;
    return new Announcer({
      tokens: new TrackerTokens((trackers ?? metainfo.announce).filter(isSupportedTracker), renew),
      identity: {
        infoHash: this.infoHash,
        peerId,
        port,
        ...(announceIp === undefined ? {} : { ip: announceIp }),
      },
      counts: () => ({
        uploaded: this.#tally.uploaded,
        downloaded: this.#tally.fromPeers + this.#tally.fromRegistry,
        left: metainfo.geometry.length - this.#tally.bytes,
      }),
      connected: () => this.#connections.size,
      onPeer: (address) => this.#dialler.add(address),
      onWarning,
      gate,
      http,
    });
  }

  #tick(): void {
    const now = performance.now();
    this.#connections.tick(now);
    this.#shares.tick(this.#tally.receivedFromPeers - this.#ticked, TICK_MS / 1000);
    this.#ticked = this.#tally.receivedFromPeers;
    this.#picker.update();
    const { missing, error } = this.#lastPath.look(now);
    if (missing > 0) this.#announcer.hurry();
    if (error !== undefined) this.#fail(error);
  }

  #lengthOf(index: number): number {
    const { start, end } = pieceSpan(this.#options.metainfo.geometry, index);
    return end - start;
  }
}

function addressOf({ wire }: Peer): string {
  return wire.remoteAddress === undefined ? '?' : `${wire.remoteAddress}:${wire.remotePort}`;
}
