import type Wire from 'bittorrent-protocol';
import type WebTorrent from 'webtorrent';
import type { Torrent } from 'webtorrent';
import { QuayctlError } from '../base/errors.ts';
import type { Http } from '../base/http.ts';
import type { RateLimiter } from '../base/rate-limiter.ts';
import { pieceSpan } from '../metainfo/geometry.ts';
import type { InfoHash } from '../metainfo/metainfo.ts';
import type { AnnounceGate } from './announce-gate.ts';
import { Announcer } from './announcer.ts';
import { Availability } from './availability.ts';
import { Connections } from './connections.ts';
import { PieceLedger } from './piece-ledger.ts';
import { PiecePicker } from './piece-picker.ts';
import {
  failedPiece,
  guardDialling,
  limitDialling,
  replacePicker,
  requestBlock,
  reusePieceBuffers,
  trustRegistryWire,
  watchBlocks,
} from './privates.ts';
import { RegistrySeed } from './registry-seed.ts';
import { RegistryWire } from './registry-wire.ts';
import { Shares } from './shares.ts';
import type { JoinOptions, Swarm, SwarmStats } from './swarm-client.ts';
import { TrackerTokens } from './tracker-tokens.ts';
import { isSupportedTracker } from './tracker.ts';
import { serveBlocks } from './uploads.ts';

const TICK_MS = 500;
/** A node without peers opens the registry no later than this after its first announce. */
const WAIT_FOR_TRACKER_MS = 500;
/** The registry is gone and nobody has a piece: peers are waited for so long. */
const AFTER_REGISTRY_MS = 5000;
const DEFAULT_WAIT_FOR_PEERS_MS = 30_000;

/** What the torrents of one client share. */
export interface SwarmContext {
  readonly client: WebTorrent;
  readonly announceIp: string | undefined;
  readonly downloadLimiter: RateLimiter;
  readonly gate: AnnounceGate;
  readonly http: Http;
  /** Runs work whose connections were limited at their source. */
  readonly exempt: (work: () => void) => void;
  readonly tryDial: () => boolean;
  readonly dialWaitMs: number;
  readonly onWarning: (message: string) => void;
  readonly onDebug: (message: string) => void;
}

/** One torrent: the wiring between webtorrent, the registry, the trackers and the choices. */
export class TorrentSwarm implements Swarm {
  readonly infoHash: InfoHash;
  readonly done: Promise<void>;
  readonly #done = Promise.withResolvers<void>();
  readonly #torrent: Torrent;
  readonly #options: JoinOptions;
  readonly #context: SwarmContext;
  readonly #ledger: PieceLedger;
  readonly #availability: Availability;
  readonly #connections: Connections;
  readonly #picker: PiecePicker;
  readonly #registry: RegistrySeed | undefined;
  readonly #shares: Shares;
  readonly #announcer: Announcer;
  #registryWire: RegistryWire | undefined;
  /** Our end of it; undefined until it may be asked. */
  #registryLink: Wire | undefined;
  readonly #handedOver = new Set<number>();
  /** Who brought blocks of a piece in progress. */
  readonly #contributors = new Map<number, Set<Wire | 'registry'>>();
  /** Pieces that failed with several contributors: now from one peer alone, to find the liar. */
  readonly #exclusive = new Map<number, Wire | undefined>();
  #timers: NodeJS.Timeout[] = [];
  #uploaded = 0;
  #peerBytes = 0;
  #movedAt = performance.now();
  #complete = false;
  #left = false;
  #leaving: Promise<void> | undefined;

  /** @param stored pieces that are in the storage and have verified */
  constructor(torrent: Torrent, options: JoinOptions, stored: readonly number[], context: SwarmContext) {
    const { metainfo, registry } = options;
    const { geometry } = metainfo;
    this.#torrent = torrent;
    this.#options = options;
    this.#context = context;
    this.infoHash = metainfo.infoHash;
    this.done = this.#done.promise;
    this.done.catch(() => {}); // a seeding node does not look
    this.#ledger = new PieceLedger(geometry);
    for (const index of stored) this.#ledger.stored(index);
    this.#availability = new Availability(geometry.pieceCount);
    this.#connections = this.#makeConnections();
    this.#picker = new PiecePicker(torrent, geometry.pieceCount, this.#availability, {
      leaves: (index, wire) => this.#leaves(index, wire),
      onRound: () => this.#shares.decide(),
    });
    this.#registry = registry === undefined ? undefined : this.#makeRegistry(registry);
    this.#shares = new Shares({
      selfId: context.client.peerId,
      geometry,
      availability: this.#availability,
      has: (index) => this.#ledger.has(index),
      peerIdOf: (wire) => this.#connections.peerIdOf(wire),
      registry: this.#registry,
    });
    this.#announcer = this.#makeAnnouncer();
    this.#adopt();
  }

  /** Once webtorrent is ready. */
  begin(): void {
    const { signal } = this.#options;
    this.#announcer.start();
    if (this.#complete) return;
    reusePieceBuffers(this.#torrent);
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) return this.#onAbort();
    this.#movedAt = performance.now();
    this.#timers.push(setInterval(() => this.#tick(), TICK_MS));
    if (this.#registry === undefined) return;
    this.#registryWire = new RegistryWire(this.infoHash);
    this.#context.exempt(() => {
      if (this.#registryWire !== undefined) this.#torrent.addWebSeed(this.#registryWire);
    });
    const settle = setTimeout(() => this.#shares.settle(), WAIT_FOR_TRACKER_MS);
    this.#timers.push(settle);
    void this.#announcer.firstAnswer.then((peers) => {
      if (peers > 0) return this.#shares.expect();
      clearTimeout(settle);
      this.#shares.settle();
    });
  }

  stats(): SwarmStats {
    const { fromPeers, fromRegistry, fromStorage, wasted } = this.#ledger;
    return {
      fromPeers,
      fromRegistry,
      fromStorage,
      wasted,
      uploaded: this.#uploaded,
      peers: this.#connections.size,
      downloadRate: this.#torrent.destroyed ? 0 : this.#torrent.downloadSpeed + this.#shares.registrySpeed,
      uploadRate: this.#torrent.destroyed ? 0 : this.#torrent.uploadSpeed,
    };
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    this.#left = true;
    // Without effect when it is done, or has failed.
    this.#done.reject(new QuayctlError('interrupted', 'the swarm was left'));
    this.#quiet();
    const destroyed = new Promise<void>((resolve) => {
      if (this.#torrent.destroyed) resolve();
      else this.#torrent.destroy({ destroyStore: false }, () => resolve());
    });
    await Promise.all([this.#announcer.stop(), destroyed]);
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#options.signal.reason;
    this.#fail(
      reason instanceof QuayctlError
        ? reason
        : new QuayctlError('interrupted', 'interrupted', { cause: reason }),
    );
  };

  #fail(error: unknown): void {
    if (this.#complete) return;
    this.#done.reject(error);
    void this.leave();
  }

  /** Nothing more is to be fetched. */
  #quiet(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
    this.#picker.stop();
    this.#registry?.close();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    if (this.#registryWire !== undefined && !this.#torrent.destroyed) {
      this.#torrent.removePeer(this.#registryWire.connId);
    }
    this.#registryWire = undefined;
    this.#registryLink = undefined;
  }

  #adopt(): void {
    const { client, tryDial, dialWaitMs } = this.#context;
    const torrent = this.#torrent;
    replacePicker(torrent, {
      update: () => this.#picker.update(),
      pick: (wire) => this.#picker.pick(wire),
    });
    limitDialling(torrent, tryDial, dialWaitMs);
    guardDialling(client, torrent, (address) => this.#connections.refuses(address));
    torrent.on('wire', (wire: Wire) => {
      if (wire.type === 'webSeed') this.#linkRegistry(wire);
      else this.#connections.accept(wire, this.#options.metainfo.geometry.pieceCount);
    });
    torrent.on('verified', (index: number) => this.#verified(index));
    torrent.on('warning', (warning: unknown) => {
      const index = failedPiece(warning);
      if (index !== undefined) this.#failed(index);
    });
    torrent.on('done', () => this.#finished());
    torrent.on('error', (error: unknown) => this.#fail(error));
    torrent.once('close', () => {
      if (!this.#left) this.#fail(new QuayctlError('internal', 'the peer port was lost'));
    });
  }

  #finished(): void {
    if (this.#complete) return;
    this.#complete = true;
    this.#quiet();
    if (this.#ledger.fromStorage < this.#options.metainfo.geometry.length) this.#announcer.completed();
    this.#done.resolve();
  }

  #makeConnections(): Connections {
    const { metainfo, storage } = this.#options;
    return new Connections(this.#torrent, this.#context.client.peerId, this.#availability, {
      onJoined: (wire) => {
        this.#shares.joined(wire);
        this.#context.onDebug(`peer ${addressOf(wire)} joins ${shortName(metainfo)}`);
        wire.on('upload', (bytes: number) => (this.#uploaded += bytes));
      },
      onReady: (wire) => {
        serveBlocks(wire, metainfo.geometry, storage, (index) => this.#ledger.has(index));
        wire.unchoke();
      },
      onLeft: (wire, gone) => {
        this.#shares.left(wire, gone);
        this.#context.onDebug(`peer ${addressOf(wire)} leaves ${shortName(metainfo)}`);
        this.#disown(wire);
        this.#picker.update();
      },
      onHave: (wire, index) => this.#shares.hasPiece(wire, index),
      onBlock: (wire, index, offset, length, asked) => {
        if (asked) this.#received(wire, index, offset, length);
        else this.#ledger.wasted += length;
        // Topped up at once; a round is for choosing anew.
        queueMicrotask(() => this.#picker.pick(wire));
      },
      onStalled: (wire) => {
        this.#context.onDebug(`peer ${addressOf(wire)} stalls`);
        this.#disown(wire);
        this.#picker.update();
      },
    });
  }

  #makeAnnouncer(): Announcer {
    const { metainfo, trackers, renewTrackers } = this.#options;
    const { client, gate, http, announceIp, onWarning } = this.#context;
    // A `--tracker` override is shown no token, so there is none to renew.
    const renew = trackers === undefined ? renewTrackers : undefined;
    return new Announcer({
      tokens: new TrackerTokens((trackers ?? metainfo.announce).filter(isSupportedTracker), renew),
      identity: {
        infoHash: this.infoHash,
        peerId: client.peerId,
        port: client.torrentPort,
        ...(announceIp === undefined ? {} : { ip: announceIp }),
      },
      counts: () => ({
        uploaded: this.#uploaded,
        downloaded: this.#ledger.fromPeers + this.#ledger.fromRegistry,
        left: metainfo.geometry.length - this.#ledger.bytes,
      }),
      connected: () => this.#connections.size,
      onPeer: (address) => {
        if (!this.#torrent.destroyed) this.#torrent.addPeer(address, 'tracker');
      },
      onWarning,
      gate,
      http,
    });
  }

  #makeRegistry(source: NonNullable<JoinOptions['registry']>): RegistrySeed {
    return new RegistrySeed({
      source,
      geometry: this.#options.metainfo.geometry,
      limiter: this.#context.downloadLimiter,
      onPiece: (index, bytes) => {
        this.#registryWire?.offer(index, bytes);
        this.#handedOver.add(index);
        this.#askRegistry();
      },
      onWasted: (bytes) => (this.#ledger.wasted += bytes),
      onClosed: (indexes) => {
        this.#shares.closed(indexes);
        if (this.#registry?.lost !== undefined) {
          this.#context.onWarning(`the registry is no longer asked: ${textOf(this.#registry.lost)}`);
          this.#movedAt = performance.now();
          this.#announcer.hurry();
        }
        this.#picker.update();
      },
    });
  }

  #linkRegistry(wire: Wire): void {
    trustRegistryWire(wire);
    this.#registryWire?.attach(wire);
    watchBlocks(wire, (index, offset, length) => this.#received('registry', index, offset, length));
    wire.once('unchoke', () => {
      this.#registryLink = wire;
      this.#askRegistry();
    });
  }

  /** Every piece that stands ready at the registry's end is asked for, and no longer of peers. */
  #askRegistry(): void {
    if (this.#registryLink === undefined || this.#torrent.destroyed) return;
    for (const index of this.#handedOver) {
      this.#handedOver.delete(index);
      this.#connections.cancel(index);
      if (requestBlock(this.#torrent, this.#registryLink, index)) continue;
      const { start, end } = pieceSpan(this.#options.metainfo.geometry, index);
      this.#ledger.wasted += end - start;
      this.#release(index, 'good');
    }
  }

  #received(from: Wire | 'registry', index: number, offset: number, length: number): void {
    const source = from === 'registry' ? 'registry' : 'peers';
    if (source === 'peers') this.#peerBytes += length;
    this.#ledger.received(index, offset, length, source);
    let contributors = this.#contributors.get(index);
    if (contributors === undefined) this.#contributors.set(index, (contributors = new Set()));
    contributors.add(from);
  }

  #verified(index: number): void {
    this.#ledger.verified(index);
    this.#contributors.delete(index);
    this.#exclusive.delete(index);
    this.#movedAt = performance.now();
    this.#release(index, 'good');
  }

  #failed(index: number): void {
    const contributors = [...(this.#contributors.get(index) ?? [])];
    this.#contributors.delete(index);
    this.#ledger.failed(index);
    const peers = contributors.filter((from) => from !== 'registry');
    const [first] = peers;
    this.#context.onDebug(`piece ${index} did not verify (${peers.length} peers gave blocks of it)`);
    if (peers.length === 1 && first !== undefined) this.#connections.ban(first);
    else if (peers.length > 1) this.#exclusive.set(index, undefined);
    this.#release(index, peers.length === 0 ? 'bad' : 'good');
    this.#picker.update();
  }

  #release(index: number, verdict: 'good' | 'bad'): void {
    this.#registryWire?.withdraw(index);
    this.#registry?.settled(index, verdict);
  }

  #leaves(index: number, wire: Wire): boolean {
    if (this.#registry?.open.has(index) === true) return true;
    if (!this.#exclusive.has(index)) return false;
    const owner = this.#exclusive.get(index);
    if (owner === undefined) this.#exclusive.set(index, wire);
    return owner !== undefined && owner !== wire;
  }

  #disown(wire: Wire): void {
    for (const [index, owner] of this.#exclusive) if (owner === wire) this.#exclusive.set(index, undefined);
  }

  #tick(): void {
    const now = performance.now();
    this.#connections.tick(now);
    this.#shares.tick(this.#peerBytes, TICK_MS / 1000);
    this.#peerBytes = 0;
    this.#picker.update();
    this.#giveUpWithoutPath(now);
  }

  /** The registry is not (or no longer) asked, and a piece that nobody has has been waited for long enough. */
  #giveUpWithoutPath(now: number): void {
    const { metainfo, registry, waitForPeersMs = DEFAULT_WAIT_FOR_PEERS_MS } = this.#options;
    if (registry !== undefined && this.#registry?.lost === undefined) return;
    const { pieceCount } = metainfo.geometry;
    let missing = 0;
    for (let index = 0; index < pieceCount; index++) {
      if (!this.#ledger.has(index) && this.#availability.of(index) === 0) missing++;
    }
    if (missing === 0) {
      this.#movedAt = now;
      return;
    }
    this.#announcer.hurry();
    const wait = registry === undefined ? waitForPeersMs : AFTER_REGISTRY_MS;
    if (now - this.#movedAt < wait) return;
    const lost = this.#registry?.lost;
    this.#fail(
      lost ??
        new QuayctlError(
          'no-peers',
          `${shortName(metainfo)}: nobody has ${missing} of its ${pieceCount} pieces`,
          { hint: 'without --skip-web-seed they would come from the registry' },
        ),
    );
  }
}

function shortName({ digest, name }: JoinOptions['metainfo']): string {
  return digest === undefined ? name.slice(0, 12) : digest.slice(0, 'sha256:'.length + 12);
}

function addressOf({ remoteAddress, remotePort }: Wire): string {
  return remoteAddress === undefined ? '?' : `${remoteAddress}:${remotePort}`;
}

function textOf(error: unknown): string {
  return error instanceof QuayctlError ? error.message : 'it failed';
}
