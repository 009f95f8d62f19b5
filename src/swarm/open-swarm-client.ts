import type WebTorrent from 'webtorrent';
import type { ParsedTorrent, Torrent } from 'webtorrent';
import { QuayctlError } from '../base/errors.ts';
import { createRateLimiter } from '../base/rate-limiter.ts';
import { PIECE_HASH_LENGTH } from '../metainfo/geometry.ts';
import type { InfoHash, Metainfo } from '../metainfo/metainfo.ts';
import { AnnounceGate } from './announce-gate.ts';
import { chunkStore } from './chunk-store.ts';
import { listen } from './listen.ts';
import { shareLimiters } from './privates.ts';
import { verifyStored } from './resume.ts';
import type { JoinOptions, Swarm, SwarmClient, SwarmClientOptions } from './swarm-client.ts';
import { TorrentSwarm, type SwarmContext } from './torrent-swarm.ts';

/** On a LAN everybody may take: slots are there so that slow links are not split without end. */
const UPLOAD_SLOTS = 64;
const REGISTRY_REQUESTS = 64;
const DEFAULT_DIALS_PER_SECOND = 200;
const UNLIMITED = createRateLimiter(0);

/** A BitTorrent client for this process; opens its port at the first join. */
export function openSwarmClient(options: SwarmClientOptions): SwarmClient {
  return new WebtorrentSwarmClient(options);
}

class WebtorrentSwarmClient implements SwarmClient {
  readonly #options: SwarmClientOptions;
  readonly #closed = new AbortController();
  readonly #swarms = new Map<InfoHash, TorrentSwarm | undefined>();
  #opening: Promise<SwarmContext> | undefined;
  #context: SwarmContext | undefined;

  constructor(options: SwarmClientOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#context?.client.torrentPort ?? 0;
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
    if (this.#swarms.has(infoHash)) throw new QuayctlError('internal', 'this torrent was joined already');
    this.#swarms.set(infoHash, undefined);
    try {
      const context = await this.#open();
      // A blob that nobody will write to is committed: verified as a whole.
      const stored =
        storage.write === undefined
          ? Array.from({ length: geometry.pieceCount }, (_, index) => index)
          : await verifyStored(metainfo, storage, signal);
      this.#closed.signal.throwIfAborted();
      const torrent = addTorrent(context.client, options, stored);
      const swarm = new TorrentSwarm(torrent, options, stored, context);
      this.#swarms.set(infoHash, swarm);
      torrent.once('close', () => this.#swarms.delete(infoHash));
      await becomesReady(torrent);
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
    const context = await this.#opening?.catch(() => undefined);
    if (context === undefined || context.client.destroyed) return;
    await new Promise<void>((resolve) => context.client.destroy(() => resolve()));
  }

  #open(): Promise<SwarmContext> {
    this.#closed.signal.throwIfAborted();
    this.#opening ??= this.#start();
    return this.#opening;
  }

  async #start(): Promise<SwarmContext> {
    const {
      downloadLimiter = UNLIMITED,
      uploadLimiter = UNLIMITED,
      http,
      announceIp,
      onWarning,
      onDebug,
    } = this.#options;
    const client = await listen(this.#options);
    const { exempt } = shareLimiters(
      client,
      { down: downloadLimiter, up: uploadLimiter },
      this.#closed.signal,
    );
    const perSecond = this.#options.connectionsPerSecond ?? DEFAULT_DIALS_PER_SECOND;
    this.#context = {
      client,
      announceIp,
      downloadLimiter,
      gate: new AnnounceGate(),
      http,
      exempt,
      tryDial: dialBudget(perSecond),
      dialWaitMs: Math.max(1, 1000 / perSecond),
      onWarning: onWarning ?? (() => {}),
      onDebug: onDebug ?? (() => {}),
    };
    return this.#context;
  }
}

/** So many a second, evenly: a burst would be what the limit is against. */
function dialBudget(perSecond: number): () => boolean {
  let freeAt = -Infinity;
  return () => {
    const now = performance.now();
    if (freeAt > now) return false;
    freeAt = Math.max(freeAt, now - 1000 / perSecond) + 1000 / perSecond;
    return true;
  };
}

function addTorrent(
  client: WebTorrent,
  { metainfo, storage }: JoinOptions,
  stored: readonly number[],
): Torrent {
  const { geometry } = metainfo;
  const seeding = storage.write === undefined;
  return client.add(parsedTorrent(metainfo), {
    preloadedStore: chunkStore(storage, geometry),
    storeCacheSlots: 0,
    strategy: 'rarest',
    // One selection by our own picker; webtorrent would make one for every piece.
    deselect: true,
    private: true,
    ...(seeding ? { skipVerify: true } : { bitfield: bitfieldOf(stored, geometry.pieceCount) }),
    uploads: UPLOAD_SLOTS,
    maxWebConns: REGISTRY_REQUESTS,
  });
}

/**
 * As parse-torrent would give it, without trackers, url-list and info dictionary: webtorrent cannot announce, ask
 * or give away what it does not know.
 */
function parsedTorrent({ infoHash, name, geometry, pieces }: Metainfo): ParsedTorrent {
  const { length, pieceLength, pieceCount } = geometry;
  const hashes = Array.from({ length: pieceCount }, (_, index) =>
    Buffer.from(pieces.subarray(index * PIECE_HASH_LENGTH, (index + 1) * PIECE_HASH_LENGTH)).toString('hex'),
  );
  return {
    infoHash,
    info: { private: 1 },
    name,
    announce: [],
    urlList: [],
    private: true,
    files: [{ path: name, name, length, offset: 0 }],
    length,
    pieceLength,
    lastPieceLength: length - (pieceCount - 1) * pieceLength,
    pieces: hashes,
  };
}

/** BEP 3: the first piece is the highest bit of the first byte. */
function bitfieldOf(pieces: readonly number[], pieceCount: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(pieceCount / 8));
  for (const index of pieces) bits[index >> 3] = (bits[index >> 3] ?? 0) | (0x80 >> (index & 7));
  return bits;
}

function becomesReady(torrent: Torrent): Promise<void> {
  return new Promise((resolve, reject) => {
    torrent.once('ready', resolve);
    torrent.once('error', reject);
    torrent.once('close', () => reject(new QuayctlError('interrupted', 'the swarm was left')));
  });
}
