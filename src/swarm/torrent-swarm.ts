import { QuayctlError } from '../base/errors.ts';
import { pieceSpan } from '../metainfo/geometry.ts';
import type { InfoHash } from '../metainfo/metainfo.ts';
import { TrackerAddress } from '../metainfo/tracker-address.ts';
import { Announcer } from './tracker/announcer.ts';
import { Availability } from './peers/availability.ts';
import { useClaims } from './claims/claims-extension.ts';
import { TorrentPeers } from './exchange/torrent-peers.ts';
import { dropPieceBuffers } from './pieces/piece-buffers.ts';
import { PieceWriter } from './pieces/piece-writer.ts';
import { Reachability } from './registry/reachability.ts';
import type { PeerWire } from './wire/peer-wire.ts';
import { Pieces } from './pieces/pieces.ts';
import { RegistrySeed } from './registry/registry-seed.ts';
import { FetchCoordinator } from './claims/fetch-coordinator.ts';
import type { JoinOptions, Swarm, SwarmStats } from './swarm-client.ts';
import type { SwarmContext } from './swarm-context.ts';
import { Rate } from '../base/rate.ts';
import { TransferStats } from './pieces/transfer-stats.ts';
import { TrackerTokens } from './tracker/tracker-tokens.ts';
import { isSupportedTracker } from './tracker/tracker.ts';

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
  readonly #tally = new TransferStats();
  readonly #downloadRate = new Rate(() => this.#tally.receivedFromPeers);
  readonly #uploadRate = new Rate(() => this.#tally.uploaded);
  readonly #pieces: Pieces;
  readonly #availability: Availability;
  readonly #keeper: PieceWriter;
  readonly #exchange: TorrentPeers;
  readonly #registry: RegistrySeed | undefined;
  readonly #shares: FetchCoordinator<PeerWire>;
  readonly #announcer: Announcer;
  readonly #lastPath: Reachability;
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
    for (const index of stored) {
      const { start, end } = pieceSpan(geometry, index);
      this.#tally.fromStorage += end - start;
      options.onVerified?.(start, end);
    }
    this.#availability = new Availability(geometry.pieceCount);
    this.#keeper = new PieceWriter({
      metainfo,
      storage,
      cache: context.cache,
      onWritten: (index) => {
        const { start, end } = pieceSpan(geometry, index);
        options.onVerified?.(start, end);
        this.#exchange.wake();
      },
      onIdle: () => this.#finishIfComplete(),
      onError: (error) => this.#fail(error),
    });
    this.#exchange = this.#makeExchange();
    this.#registry = this.#makeRegistry();
    this.#shares = this.#makeShares();
    this.#announcer = this.#makeAnnouncer();
    this.#lastPath = new Reachability(options, {
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
      if (company === 'none') this.#shares.settle();
      else this.#shares.expect(company === 'seeders');
    });
  }

  /** A connection whose handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    if (this.#leaving === undefined) this.#exchange.accept(wire, address);
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
      peers: this.#exchange.size,
      downloadRate: isOver ? 0 : this.#downloadRate.perSecond + this.#shares.registrySpeed,
      uploadRate: isOver ? 0 : this.#uploadRate.perSecond,
    };
  }

  want(start: number, end: number): void {
    if (this.#complete || this.#leaving !== undefined) return;
    const { pieceLength, pieceCount } = this.#options.metainfo.geometry;
    const from = Math.max(0, Math.floor(start / pieceLength));
    const to = Math.min(pieceCount, Math.ceil(end / pieceLength));
    const missing = Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at).filter(
      (index) => !this.#pieces.has(index),
    );
    if (missing.length === 0) return;
    this.#exchange.want(missing);
    this.#shares.want(missing);
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    // Without effect when it is done, or has failed.
    this.#done.reject(new QuayctlError('interrupted', 'the swarm was left'));
    this.#quiet();
    this.#exchange.close();
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
    this.#exchange.quiet();
    this.#registry?.close();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
  }

  #finishIfComplete(): void {
    if (this.#complete || !this.#pieces.isComplete || !this.#keeper.isIdle) return;
    this.#complete = true;
    dropPieceBuffers();
    this.#quiet();
    this.#exchange.completed();
    if (this.#tally.fromStorage < this.#options.metainfo.geometry.length) this.#announcer.completed();
    this.#done.resolve();
  }

  #makeExchange(): TorrentPeers {
    return new TorrentPeers({
      ...this.#options,
      context: this.#context,
      pieces: this.#pieces,
      availability: this.#availability,
      keeper: this.#keeper,
      tally: this.#tally,
      onJoined: (wire) => this.#shares.joined(wire),
      onLeft: (wire, gone) => this.#shares.left(wire, gone),
      onHave: (wire, index) => this.#shares.hasPiece(wire, index),
      onVerified: (index) => {
        this.#registry?.release([index]);
        this.#lastPath.moved();
      },
      onRound: () => this.#shares.decide(),
      isTaken: (index) => this.#registry?.open.has(index) === true,
    });
  }

  #makeShares(): FetchCoordinator<PeerWire> {
    const { geometry } = this.#options.metainfo;
    return new FetchCoordinator({
      selfId: this.#context.peerId,
      infoHash: this.infoHash,
      geometry,
      availability: this.#availability,
      has: (index) => this.#pieces.has(index),
      peerIdOf: (wire) => this.#exchange.peerOf(wire)?.peerId ?? '',
      countOf: (wire) => this.#exchange.peerOf(wire)?.count ?? 0,
      link: (wire, handlers) => useClaims(wire, geometry.pieceCount, handlers),
      registry: this.#registry,
      swarmSize: () => this.#announcer.leechers,
    });
  }

  #makeRegistry(): RegistrySeed | undefined {
    const { registry, metainfo } = this.#options;
    if (registry === undefined) return undefined;
    return new RegistrySeed({
      source: registry,
      geometry: metainfo.geometry,
      limiter: this.#context.downloadLimiter,
      onPiece: (index, bytes) => this.#exchange.fromRegistry(index, bytes),
      ready: (signal) => this.#keeper.ready(signal),
      onWasted: (bytes) => (this.#tally.wasted += bytes),
      onClosed: (indexes) => {
        this.#shares.closed(indexes);
        if (this.#registry?.lost !== undefined) this.#registryLost(this.#registry.lost);
        this.#exchange.update();
      },
    });
  }

  #registryLost(why: unknown): void {
    const reason = why instanceof QuayctlError ? why.message : 'it failed';
    this.#context.onWarning(`the registry is no longer asked: ${reason}`);
    this.#lastPath.moved();
    this.#announcer.hurry();
  }

  #makeAnnouncer(): Announcer {
    const { metainfo, trackers, renewTrackers } = this.#options;
    const { peerId, port, gate, http, announceIp, onWarning } = this.#context;
    // A `--tracker` override is shown no token, so there is none to renew.
    const renew = trackers === undefined ? renewTrackers : undefined;
    return new Announcer({
      tokens: new TrackerTokens(
        (trackers?.map((url) => new TrackerAddress(url)) ?? metainfo.trackers).filter(isSupportedTracker),
        renew,
      ),
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
      connected: () => this.#exchange.size,
      onPeer: (address) => this.#exchange.dial(address),
      onWarning,
      gate,
      http,
    });
  }

  #tick(): void {
    const now = performance.now();
    this.#exchange.tick(now);
    this.#shares.tick(this.#tally.receivedFromPeers - this.#ticked, TICK_MS / 1000);
    this.#ticked = this.#tally.receivedFromPeers;
    const { missing, error } = this.#lastPath.look(now);
    if (missing > 0) this.#announcer.hurry();
    if (error !== undefined) this.#fail(error);
  }
}
