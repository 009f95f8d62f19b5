import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { delay } from '../../src/base/retry.ts';
import { QuayctlError } from '../../src/base/errors.ts';
import { PIECE_HASH_LENGTH, pieceSpan } from '../../src/metainfo/geometry.ts';
import type {
  JoinOptions,
  PieceStates,
  Swarm,
  SwarmClient,
  SwarmStats,
} from '../../src/swarm/swarm-client.ts';
import { verifyStored } from '../../src/swarm/pieces/piece-writer.ts';

/** What the peers of a MemorySwarmClient are like. */
export interface MemoryPeers {
  /** What they have; they give nothing where it is absent. */
  content?: Uint8Array;
  /** Milliseconds that a piece takes. */
  pieceMs: number;
  /** Bytes that they have taken. */
  uploaded: number;
}

/** A BitTorrent client without a network, for tests of the rooms above `swarm`: one piece after the other. */
export class MemorySwarmClient implements SwarmClient {
  readonly port = 0;
  readonly peerId = '0'.repeat(40);
  readonly peers: MemoryPeers = { pieceMs: 100, uploaded: 0 };
  /** Every join, in order. */
  readonly joined: JoinOptions[] = [];
  readonly left: string[] = [];
  /** Starts of the pieces in the order in which they came. */
  readonly order: number[] = [];
  joinFailure: QuayctlError | undefined;

  async join(options: JoinOptions): Promise<Swarm> {
    if (this.joinFailure !== undefined) throw this.joinFailure;
    this.joined.push(options);
    return new MemorySwarm(options, this);
  }

  async close(): Promise<void> {}
}

class MemorySwarm implements Swarm {
  readonly infoHash;
  readonly done: Promise<void>;
  readonly #options: JoinOptions;
  readonly #client: MemorySwarmClient;
  readonly #left = new AbortController();
  readonly #wanted: number[] = [];
  #stats = { fromPeers: 0, fromRegistry: 0, fromStorage: 0, wasted: 0 };

  constructor(options: JoinOptions, client: MemorySwarmClient) {
    this.infoHash = options.metainfo.infoHash;
    this.#options = options;
    this.#client = client;
    this.done = this.#run(AbortSignal.any([options.signal, this.#left.signal]));
    this.done.catch(() => undefined);
  }

  stats(): SwarmStats {
    const { content, uploaded } = this.#client.peers;
    const peers = content === undefined ? 0 : 1;
    const meeting = { known: peers, reached: peers, isOverdue: false };
    return {
      ...this.#stats,
      uploaded,
      peers,
      meeting,
      takers: new Set<string>(),
      downloadRate: 1000 * peers,
      uploadRate: 0,
    };
  }

  readonly pieceCount = 0;

  pieces(): PieceStates {
    return { have: new Uint8Array(), fetching: [], claimed: [] };
  }

  contacts(): readonly [] {
    return [];
  }

  want(start: number, end: number): void {
    const { pieceLength } = this.#options.metainfo.geometry;
    const [from, to] = [Math.floor(start / pieceLength), Math.ceil(end / pieceLength)];
    for (let index = from; index < to; index++) this.#wanted.push(index);
  }

  async leave(): Promise<void> {
    this.#left.abort(new QuayctlError('interrupted', 'the swarm was left'));
    this.#client.left.push(this.infoHash);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { metainfo, storage, onVerified } = this.#options;
    const { geometry } = metainfo;
    const here =
      storage.write === undefined
        ? Array.from({ length: geometry.pieceCount }, (_, at) => at)
        : await verifyStored(metainfo, storage, signal);
    for (const index of here) {
      const { start, end } = pieceSpan(geometry, index);
      this.#stats.fromStorage += end - start;
      onVerified?.(start, end);
    }
    const missing = new Set(Array.from({ length: geometry.pieceCount }, (_, at) => at));
    for (const index of here) missing.delete(index);
    while (missing.size > 0) {
      const [last = 0] = [...missing].reverse();
      // Not in order, so that who depends on the order is found out.
      const index = this.#wanted.find((each) => missing.has(each)) ?? last;
      await this.#fetch(index, signal);
      missing.delete(index);
    }
  }

  async #fetch(index: number, signal: AbortSignal): Promise<void> {
    const { metainfo, storage, registry, onVerified, waitForPeersMs = 0 } = this.#options;
    const { peers, order } = this.#client;
    const { start, end } = pieceSpan(metainfo.geometry, index);
    await delay(peers.pieceMs, signal);
    const given = peers.content?.subarray(start, end);
    const source = given === undefined ? 'fromRegistry' : 'fromPeers';
    if (given === undefined && registry === undefined) {
      await delay(waitForPeersMs, signal);
      throw new QuayctlError('no-peers', 'nobody has a piece');
    }
    const bytes = given ?? (await buffer(registry?.(start, end, signal) ?? Readable.from([])));
    const expected = metainfo.pieces.subarray(index * PIECE_HASH_LENGTH, (index + 1) * PIECE_HASH_LENGTH);
    if (!createHash('sha1').update(bytes).digest().equals(expected)) {
      this.#stats.wasted += bytes.length;
      throw new QuayctlError('protocol', 'the registry sends other bytes than the torrent describes');
    }
    await storage.write?.(start, bytes);
    this.#stats[source] += end - start;
    order.push(start);
    onVerified?.(start, end);
  }
}
