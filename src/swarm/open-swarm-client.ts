import { randomBytes } from 'node:crypto';
import { QuayctlError } from '../base/errors.ts';
import { createRateLimiter } from '../base/rate-limiter.ts';
import type { InfoHash } from '../metainfo/metainfo.ts';
import { Semaphore } from '../base/semaphore.ts';
import { TokenBucket } from '../base/token-bucket.ts';
import { DialLimits } from './peers/dial-limits.ts';
import { RelatedPeers } from './peers/related-peers.ts';
import { PeerListener, type PeerListenerOptions } from './peers/peer-listener.ts';
import { ThirdParties } from './peers/third-parties.ts';
import { PieceCache } from './pieces/piece-cache.ts';
import { verifyStored } from './pieces/piece-writer.ts';
import type { EncryptionMode, JoinOptions, Swarm, SwarmClient, SwarmClientOptions } from './swarm-client.ts';
import type { SwarmContext } from './swarm-context.ts';
import { TorrentSwarm } from './torrent-swarm.ts';
import { PeerTls } from './wire/peer-tls.ts';

/** Azureus style (BEP 20): client, version, then random bytes. */
const PEER_ID_PREFIX = '-QC0100-';
/** Outgoing connections that a process opens per second. */
const DEFAULT_DIALS_PER_SECOND = 200;
/** Memory for pieces that have just arrived and that other peers are about to ask for. */
const CACHE_BYTES = 16 * 1024 * 1024;
/** Announces of one process that are under way at once, so that a store of 1,000 seeds does not storm its tracker. */
const ANNOUNCES_AT_ONCE = 16;
const UNLIMITED = createRateLimiter(0);
/** bittorrent-protocol's numbers for the modes of the command line. */
const ENCRYPTION: Readonly<Record<EncryptionMode, number>> = { 0: 2, 1: 1, 2: 0 };

/** A BitTorrent client for this process; opens its port at the first join. */
export function openSwarmClient(options: SwarmClientOptions): SwarmClient {
  return new OwnSwarmClient(options);
}

class OwnSwarmClient implements SwarmClient {
  readonly peerId = Buffer.concat([Buffer.from(PEER_ID_PREFIX), randomBytes(12)]).toString('hex');
  readonly #options: SwarmClientOptions;
  readonly #closed = new AbortController();
  readonly #swarms = new Map<InfoHash, TorrentSwarm | undefined>();
  #opening: Promise<{ readonly listener: PeerListener; readonly context: SwarmContext }> | undefined;
  #port = 0;

  constructor(options: SwarmClientOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#port;
  }

  async join(options: JoinOptions): Promise<Swarm> {
    const { metainfo, storage, signal } = options;
    const { infoHash, geometry } = metainfo;
    if (storage.size !== geometry.length) {
      throw new QuayctlError(
        'protocol',
        `the torrent is of ${geometry.length} bytes, the blob has ${storage.size}`,
      );
    }
    this.#closed.signal.throwIfAborted();
    if (this.#swarms.has(infoHash)) throw new QuayctlError('internal', 'this torrent was joined already');
    this.#swarms.set(infoHash, undefined);
    try {
      this.#opening ??= this.#open();
      const { context } = await this.#opening;
      // A blob that nobody will write to is committed: verified as a whole.
      const stored =
        storage.write === undefined
          ? Array.from({ length: geometry.pieceCount }, (_, index) => index)
          : await verifyStored(metainfo, storage, signal);
      this.#closed.signal.throwIfAborted();
      const swarm = new TorrentSwarm(options, stored, context, () => this.#swarms.delete(infoHash));
      if (swarm.peerRule === 'tls' && swarm.admission?.hasToken !== true) throw noToken();
      this.#swarms.set(infoHash, swarm);
      swarm.begin();
      return swarm;
    } catch (error) {
      this.#swarms.delete(infoHash);
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new QuayctlError('interrupted', 'the swarm client was closed'));
    const swarms = [...this.#swarms.values()].filter((swarm) => swarm !== undefined);
    await Promise.all(swarms.map((swarm) => swarm.leave()));
    await (await this.#opening?.catch(() => undefined))?.listener.close();
  }

  async #open(): Promise<{ listener: PeerListener; context: SwarmContext }> {
    const { downloadLimiter = UNLIMITED, uploadLimiter = UNLIMITED, encryptionMode = 1 } = this.#options;
    const { http, announceIp, onWarning = () => {}, onDebug = () => {} } = this.#options;
    const { nodeKey } = this.#options;
    const tls = nodeKey && new PeerTls({ key: nodeKey.pem, cert: nodeKey.certificate });
    const encryption = ENCRYPTION[encryptionMode];
    const listener = await this.#openListener({
      encryption,
      limiter: downloadLimiter,
      tls,
      admissionTo: (name) => {
        for (const swarm of this.#swarms.values())
          if (swarm?.admission?.name === name) return swarm.admission;
        return undefined;
      },
      infoHashes: () => this.#openToAll(),
      onWire: (wire, infoHash) => {
        const swarm = this.#swarms.get(infoHash as InfoHash);
        if (swarm === undefined) wire.destroy();
        else swarm.accept(wire);
      },
    });
    this.#port = listener.port;
    const perSecond = this.#options.connectionsPerSecond ?? DEFAULT_DIALS_PER_SECOND;
    // Evenly: a burst would be what the limit is against.
    const dials = new TokenBucket({ perSecond, burst: 1 });
    const context: SwarmContext = {
      peerId: this.peerId,
      port: listener.port,
      encryption,
      nodeKey,
      tls,
      thirdParties: new ThirdParties(),
      announceIp,
      downloadLimiter,
      uploadLimiter,
      cache: new PieceCache(CACHE_BYTES),
      gate: new Semaphore(ANNOUNCES_AT_ONCE),
      http,
      tryDial: () => dials.tryTake(),
      dialWaitMs: Math.max(1, 1000 / perSecond),
      dialLimits: new DialLimits(),
      relatedPeers: new RelatedPeers(),
      onWarning,
      onDebug,
    };
    return { listener, context };
  }

  *#openToAll(): Iterable<InfoHash> {
    for (const [infoHash, swarm] of this.#swarms) if (swarm?.peerRule === 'any') yield infoHash;
  }

  /** The first free port of the range. @throws QuayctlError `port` when it is full and was the user's */
  async #openListener(options: PeerListenerOptions): Promise<PeerListener> {
    const { lowerPort, upperPort, portRangeStrict = false, onWarning } = this.#options;
    for (let port = lowerPort; port <= upperPort; port++) {
      const listener = await PeerListener.tryOpen(port, options);
      if (listener !== undefined) return listener;
    }
    const full = `no port from ${lowerPort} to ${upperPort} is free`;
    if (portRangeStrict) throw new QuayctlError('port', full, { hint: 'give a wider range' });
    const listener = await PeerListener.tryOpen(0, options);
    if (listener === undefined) throw new QuayctlError('port', 'no port can be opened for peers');
    onWarning?.(`${full}; peers reach this node at port ${listener.port}`);
    return listener;
  }
}

function noToken(): QuayctlError {
  return new QuayctlError(
    'no-peers',
    'only nodes with a live token of the torrent service may take part in this swarm, and it gave this node none',
  );
}
