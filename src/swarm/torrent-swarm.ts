import { QuayctlError } from '../base/errors.ts';
import { Rate } from '../base/rate.ts';
import { pieceSpan } from '../metainfo/geometry.ts';
import type { InfoHash, PeerRule } from '../metainfo/metainfo.ts';
import { TrackerAddress, type AnnounceToken } from '../metainfo/tracker-address.ts';
import { TorrentAdmission } from './admission/torrent-admission.ts';
import { useClaims } from './claims/claims-extension.ts';
import { FetchCoordinator } from './claims/fetch-coordinator.ts';
import { TorrentPeers } from './exchange/torrent-peers.ts';
import type { Peer } from './peers/peer.ts';
import { TorrentState } from './peers/torrent-state.ts';
import { dropPieceBuffers } from './pieces/piece-buffers.ts';
import { PieceWriter } from './pieces/piece-writer.ts';
import { Reachability } from './registry/reachability.ts';
import { RegistrySeed } from './registry/registry-seed.ts';
import type { Contact, JoinOptions, PieceStates, Swarm, SwarmStats } from './swarm-client.ts';
import type { SwarmContext } from './swarm-context.ts';
import { Announcer, type Company } from './tracker/announcer.ts';
import { isSupportedTracker } from './tracker/tracker.ts';
import { TrackerTokens } from './tracker/tracker-tokens.ts';
import type { PeerWire } from './wire/peer-wire.ts';

const TICK_MS = 500;
/** How often the pace of peers is looked at: a pull that they hold up is not to lose more than a moment. Milliseconds. */
const WATCH_MS = 50;
/** A node without peers opens the registry no later than this after its first announce. Milliseconds. */
const WAIT_FOR_TRACKER_MS = 500;

/**
 * One torrent. Its parts share a TorrentState and tell each other of what happens by its events; here they are put
 * together, and here stands who listens to what.
 */
export class TorrentSwarm implements Swarm {
  readonly infoHash: InfoHash;
  readonly done: Promise<void>;
  /** What other nodes are admitted by, over TLS; undefined where this node has no key, or nobody can be asked for keys. */
  readonly admission: TorrentAdmission | undefined;
  readonly #done = Promise.withResolvers<void>();
  readonly #options: JoinOptions;
  readonly #context: SwarmContext;
  readonly #state: TorrentState;
  readonly #writer: PieceWriter;
  readonly #peers: TorrentPeers;
  readonly #registry: RegistrySeed | undefined;
  readonly #coordinator: FetchCoordinator<Peer>;
  readonly #tokens: TrackerTokens;
  readonly #announcer: Announcer;
  readonly #reachability: Reachability;
  readonly #downloadRate: Rate;
  readonly #uploadRate: Rate;
  readonly #onLeft: () => void;
  readonly #timers: NodeJS.Timeout[] = [];
  #complete = false;
  #leaving: Promise<void> | undefined;

  /** @param stored pieces that are in the storage and have verified */
  constructor(options: JoinOptions, stored: readonly number[], context: SwarmContext, onLeft: () => void) {
    const { metainfo, storage, waitForPeersMs } = options;
    this.#options = options;
    this.#context = context;
    this.#onLeft = onLeft;
    this.infoHash = metainfo.infoHash;
    this.done = this.#done.promise;
    this.done.catch(() => {}); // a seeding node does not look
    const state = (this.#state = new TorrentState(metainfo, stored));
    this.#downloadRate = new Rate(() => state.stats.receivedFromPeers);
    this.#uploadRate = new Rate(() => state.stats.uploaded);
    for (const index of stored) this.#tellVerified(index);
    this.#writer = new PieceWriter(metainfo, storage, context.cache);
    this.#tokens = new TrackerTokens(metainfo.trackers.filter(isSupportedTracker), options.renewTrackers);
    this.admission = this.#makeAdmission();
    this.#peers = new TorrentPeers(state, this.#writer, options, context, this.admission);
    this.#registry = this.#makeRegistry();
    this.#coordinator = this.#makeCoordinator();
    this.#announcer = this.#makeAnnouncer();
    this.#reachability = new Reachability(state, this.#registry, waitForPeersMs);
    this.#listen();
  }

  /** Decides which peers may take part. */
  get peerRule(): PeerRule | 'any' {
    return this.#options.metainfo.peers ?? 'any';
  }

  begin(): void {
    const { signal } = this.#options;
    this.#announcer.start();
    this.#finishIfComplete();
    if (this.#complete) return;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) return this.#onAbort();
    this.#reachability.restart();
    this.#timers.push(
      setInterval(() => this.#tick(), TICK_MS),
      setInterval(() => this.#coordinator.watch(), WATCH_MS),
      setTimeout(() => this.#coordinator.early(), this.#coordinator.earlyMs),
      setTimeout(() => this.#coordinator.settle(), WAIT_FOR_TRACKER_MS),
    );
    void this.#announcer.firstAnswer.then((company) => this.#meet(company));
  }

  /** A connection whose handshake is here. @param address at which it was dialled */
  accept(wire: PeerWire, address?: string): void {
    if (this.#leaving === undefined && this.#isAdmitted(wire)) this.#peers.accept(wire, address);
    else wire.destroy();
  }

  stats(): SwarmStats {
    const { fromPeers, fromRegistry, fromStorage, wasted, uploaded, takers } = this.#state.stats;
    const isOver = this.#leaving !== undefined;
    return {
      fromPeers,
      fromRegistry,
      fromStorage,
      wasted,
      uploaded,
      peers: this.#state.peers.size,
      takers,
      meeting: this.#peers.meeting,
      downloadRate: isOver ? 0 : this.#downloadRate.perSecond + this.#coordinator.registrySpeed,
      uploadRate: isOver ? 0 : this.#uploadRate.perSecond,
    };
  }

  get pieceCount(): number {
    return this.#state.pieceCount;
  }

  pieces(): PieceStates {
    const { pieces } = this.#state;
    return {
      have: pieces.bitfield(),
      fetching: [...pieces.begun.keys()],
      claimed: [...pieces.fromRegistry.keys()],
    };
  }

  contacts(): readonly Contact[] {
    return this.#peers.contacts();
  }

  want(start: number, end: number): void {
    if (this.#complete || this.#leaving !== undefined) return;
    const { pieceLength, pieceCount } = this.#options.metainfo.geometry;
    const from = Math.max(0, Math.floor(start / pieceLength));
    const to = Math.min(pieceCount, Math.ceil(end / pieceLength));
    const missing = Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at).filter(
      (index) => !this.#state.has(index),
    );
    if (missing.length === 0) return;
    this.#peers.want(missing);
    this.#coordinator.want(missing);
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    // Without effect when it is done, or has failed.
    this.#done.reject(new QuayctlError('interrupted', 'the swarm was left'));
    this.#stopFetching();
    this.#peers.close();
    this.#writer.close();
    await this.#announcer.stop();
    this.#onLeft();
  }

  #listen(): void {
    const state = this.#state;
    // Extensions first: the extended handshake names them.
    state.on('peerJoining', (peer) => this.#coordinator.joined(peer));
    state.on('peerJoining', (peer) => this.#peers.greet(peer));
    state.on('peerLeft', (peer, isGone) => this.#coordinator.left(peer, isGone));
    state.on('peerHas', (peer, index) => this.#coordinator.hasPiece(peer, index));
    state.on('choosing', () => this.#coordinator.decide());
    state.on('registryClosed', (pieces) => this.#coordinator.closed(pieces));
    state.on('registryLost', (reason) => {
      const why = reason instanceof QuayctlError ? reason.message : 'it failed';
      this.#context.onWarning(`the registry is no longer asked: ${why}`);
      this.#announcer.hurry();
    });
    state.on('pieceStored', (index) => {
      this.#tellVerified(index);
      this.#finishIfComplete();
    });
    this.#writer.on('written', (index) => state.emit('pieceStored', index));
    this.#writer.on('failed', (error) => this.#fail(error));
  }

  #tellVerified(index: number): void {
    const { start, end } = pieceSpan(this.#options.metainfo.geometry, index);
    this.#options.onVerified?.(start, end);
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
  #stopFetching(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#peers.stopAsking();
    this.#registry?.close();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
  }

  #finishIfComplete(): void {
    const { pieces, stats } = this.#state;
    if (this.#complete || !pieces.isComplete || this.#writer.unwritten > 0) return;
    this.#complete = true;
    dropPieceBuffers();
    this.#stopFetching();
    this.#state.emit('completed');
    if (stats.fromStorage < this.#options.metainfo.geometry.length) this.#announcer.completed();
    this.#done.resolve();
  }

  /** The trackers have said who else is there. */
  #meet(company: Company): void {
    // Without a tracker the peers of the layers before are the likeliest to be here, too.
    const isRelated = company === 'unknown' && this.#peers.dialRelated() > 0;
    if (company === 'none' || (company === 'unknown' && !isRelated)) this.#coordinator.settle();
    else this.#coordinator.expect(company === 'seeders');
  }

  #makeCoordinator(): FetchCoordinator<Peer> {
    const { geometry } = this.#options.metainfo;
    return new FetchCoordinator(this.#state, {
      selfId: this.#context.peerId,
      infoHash: this.infoHash,
      geometry,
      connect: ({ wire }, handlers) => useClaims(wire, geometry.pieceCount, handlers),
      registry: this.#registry,
      most: () => this.#context.downloadLimiter.bytesPerSecond,
    });
  }

  #makeRegistry(): RegistrySeed | undefined {
    const { registry } = this.#options;
    if (registry === undefined) return undefined;
    return new RegistrySeed(this.#state, registry, this.#context.downloadLimiter, {
      take: (index, bytes) => this.#peers.fromRegistry(index, bytes),
      ready: (signal) => this.#writer.ready(signal),
    });
  }

  /** Over TLS a peer has shown a token for this torrent; without TLS it may be anybody. */
  #isAdmitted(wire: PeerWire): boolean {
    return wire.tls === undefined ? this.peerRule === 'any' : wire.admittedTo === this.infoHash;
  }

  #makeAdmission(): TorrentAdmission | undefined {
    const { serviceKeys } = this.#options;
    const { nodeKey } = this.#context;
    if (serviceKeys === undefined || nodeKey === undefined) return undefined;
    return new TorrentAdmission({
      infoHash: this.infoHash,
      thumbprint: nodeKey.thumbprint,
      token: () => this.#ownToken(),
      serviceKeys,
    });
  }

  #ownToken(): AnnounceToken | undefined {
    const tracker = this.#tokens.trackers.find(({ token }) => token !== undefined);
    // Announces keep it fresh, but those to a `--tracker` override.
    if (tracker !== undefined && this.#options.trackers !== undefined)
      this.#tokens.fresh(tracker, this.#options.signal).catch(() => undefined);
    return tracker?.token;
  }

  #makeAnnouncer(): Announcer {
    const { trackers } = this.#options;
    const { peerId, port, gate, http, announceIp, onWarning } = this.#context;
    // A `--tracker` override is shown no token, so there is none to renew.
    const given = trackers?.map((url) => new TrackerAddress(url)).filter(isSupportedTracker);
    return new Announcer({
      tokens: given === undefined ? this.#tokens : new TrackerTokens(given, undefined),
      identity: {
        infoHash: this.infoHash,
        peerId,
        port,
        ...(announceIp === undefined ? {} : { ip: announceIp }),
      },
      state: this.#state,
      onWarning,
      gate,
      http,
    });
  }

  #tick(): void {
    const now = performance.now();
    this.#peers.tick(now);
    this.#coordinator.tick(TICK_MS / 1000);
    const { missing, error } = this.#reachability.look(now);
    if (missing > 0) this.#announcer.hurry();
    if (error !== undefined) this.#fail(error);
  }
}
