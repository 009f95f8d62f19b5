import type { Digest } from '../image/digest.ts';
import type { Swarm } from '../swarm/swarm-client.ts';

/** A blob that this node gives to others. */
export interface Seed {
  readonly digest: Digest;
  readonly swarm: Swarm;
  /** Closes the file behind it, once the swarm is left. */
  readonly close: () => Promise<void>;
}

/** The swarms that this run takes part in after their blobs are complete. */
export class Seeds {
  readonly #seeds = new Map<Digest, Seed>();
  #uploadedBefore = 0;

  get count(): number {
    return this.#seeds.size;
  }

  /** Peers over all torrents. */
  get peers(): number {
    return [...this.#seeds.values()].reduce((sum, { swarm }) => sum + swarm.stats().peers, 0);
  }

  /** Bytes given to peers, those of swarms that were left included. */
  get uploaded(): number {
    return [...this.#seeds.values()].reduce(
      (sum, { swarm }) => sum + swarm.stats().uploaded,
      this.#uploadedBefore,
    );
  }

  has(digest: Digest): boolean {
    return this.#seeds.has(digest);
  }

  digests(): Digest[] {
    return [...this.#seeds.keys()];
  }

  add(seed: Seed): void {
    this.#seeds.set(seed.digest, seed);
  }

  async drop(digest: Digest): Promise<void> {
    const seed = this.#seeds.get(digest);
    if (seed === undefined) return;
    this.#seeds.delete(digest);
    this.#uploadedBefore += seed.swarm.stats().uploaded;
    await seed.swarm.leave();
    await seed.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#seeds.keys()].map((digest) => this.drop(digest)));
  }
}
