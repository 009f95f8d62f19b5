import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import { QuayctlError } from '../base/errors.ts';
import type { BlobStore, OpenOptions } from '../store/blob-store.ts';
import type { Swarm, SwarmClient } from '../swarm/swarm-client.ts';
import type { BlobOrigin } from './blob-origin.ts';

/** A blob that this node gives to others. */
interface Seed {
  readonly digest: Digest;
  readonly swarm: Swarm;
  /** Closes the file behind it, once the swarm is left. */
  readonly close: () => Promise<void>;
}

/** One blob that is given to others. */
export interface SeedInfo {
  readonly digest: Digest;
  readonly swarm: Swarm;
}

export interface SeedsOptions {
  readonly store: Pick<BlobStore, 'open'>;
  readonly swarm: () => Promise<SwarmClient>;
}

/** What is given to others, and what was. */
export interface SeedTotals {
  readonly torrents: number;
  /** Connected now; a node counts once for each torrent. */
  readonly peers: number;
  /** Bytes. */
  readonly uploaded: number;
  /** Nodes that got any of them. */
  readonly takers: number;
}

/** The swarms of complete blobs that this process gives to others. */
export class Seeds {
  readonly #options: SeedsOptions;
  readonly #seeds = new Map<Digest, Seed>();
  readonly #joining = new Map<Digest, Promise<void>>();
  readonly #uploadedBefore = new Map<Digest, number>();
  /** Of the swarms that were left. */
  readonly #takersBefore = new Set<string>();

  constructor(options: SeedsOptions) {
    this.#options = options;
  }

  has(digest: Digest): boolean {
    return this.#seeds.has(digest);
  }

  list(): readonly SeedInfo[] {
    return [...this.#seeds.values()];
  }

  digests(): Digest[] {
    return [...this.#seeds.keys()];
  }

  /** How many of these blobs (absent: of all) are given to others, to how many peers, and the bytes that those got. */
  totals(digests: Iterable<Digest> = this.#known()): SeedTotals {
    const sum = { torrents: 0, peers: 0, uploaded: 0 };
    const takers = new Set(this.#takersBefore);
    for (const digest of new Set(digests)) {
      const stats = this.#seeds.get(digest)?.swarm.stats();
      sum.uploaded += (this.#uploadedBefore.get(digest) ?? 0) + (stats?.uploaded ?? 0);
      if (stats === undefined) continue;
      sum.torrents++;
      sum.peers += stats.peers;
      for (const taker of stats.takers) takers.add(taker);
    }
    return { ...sum, takers: takers.size };
  }

  /** Takes over a swarm whose download is complete. */
  add(seed: Seed): void {
    this.#seeds.set(seed.digest, seed);
  }

  /**
   * Gives a committed blob of the store to others; once, however many ask for it at the same time.
   * @param options with `yields`, a gc may choose the blob: whoever asks so drops the seed when the store has changed
   * @throws QuayctlError `no-torrent` with the reason; `not-found` where it is not in the store; `port`
   */
  async seed(
    blob: Descriptor,
    origin: BlobOrigin,
    signal: AbortSignal,
    options: OpenOptions = {},
  ): Promise<void> {
    if (this.has(blob.digest)) return;
    const joining = this.#joining.get(blob.digest) ?? this.#join(blob, origin, signal, options);
    this.#joining.set(blob.digest, joining);
    await joining.finally(() => this.#joining.delete(blob.digest));
  }

  async drop(digest: Digest): Promise<void> {
    const seed = this.#seeds.get(digest);
    if (seed === undefined) return;
    this.#seeds.delete(digest);
    const before = this.#uploadedBefore.get(digest) ?? 0;
    const { uploaded, takers } = seed.swarm.stats();
    this.#uploadedBefore.set(digest, before + uploaded);
    for (const taker of takers) this.#takersBefore.add(taker);
    await seed.swarm.leave();
    await seed.close();
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#joining.values());
    await Promise.all(this.digests().map((digest) => this.drop(digest)));
  }

  #known(): Iterable<Digest> {
    return new Set([...this.#seeds.keys(), ...this.#uploadedBefore.keys()]);
  }

  async #join(
    blob: Descriptor,
    { torrents, rules }: BlobOrigin,
    signal: AbortSignal,
    options: OpenOptions,
  ): Promise<void> {
    const plan = await torrents.findOrWait(blob, signal);
    if (plan.kind === 'none') throw new QuayctlError('no-torrent', plan.reason);
    const { metainfo } = plan;
    const reader = await this.#options.store.open(blob.digest, options);
    try {
      const client = await this.#options.swarm();
      const swarm = await client.join({
        metainfo,
        storage: { size: reader.size, read: reader.read.bind(reader) },
        signal,
        group: torrents,
        renewTrackers: (abort) => torrents.renewTrackers(blob, metainfo, abort),
        ...torrents.admission(signal),
        ...(rules.trackers.length > 0 ? { trackers: rules.trackers } : {}),
      });
      this.add({ digest: blob.digest, swarm, close: () => reader.close() });
    } catch (error) {
      await reader.close();
      throw error;
    }
  }
}
