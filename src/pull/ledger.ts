import type { Descriptor } from '../image/descriptor.ts';
import type { PartialBlob } from '../store/blob-store.ts';
import type { Swarm } from '../swarm/swarm-client.ts';
import type { BlobProgress } from './events.ts';
import type { BlobOutcome } from './receipt.ts';

/** Keeps the books of one blob: which source brought how many bytes. All counts are integer bytes. */
export class BlobLedger {
  readonly #descriptor: Descriptor;
  readonly #partial: PartialBlob;
  readonly #started = performance.now();
  /** Here from an earlier run. */
  #resumed: number;
  /** From the registry, outside of the swarm. */
  #direct = 0;
  #wasted = 0;
  #mostPeers = 0;
  #swarm: Swarm | undefined;

  constructor(descriptor: Descriptor, partial: PartialBlob) {
    this.#descriptor = descriptor;
    this.#partial = partial;
    this.#resumed = partial.written;
  }

  get resumed(): number {
    return this.#resumed;
  }

  get swarm(): Swarm | undefined {
    return this.#swarm;
  }

  joined(swarm: Swarm): void {
    this.#swarm = swarm;
  }

  /** What the swarm brought is not believed any more. */
  left(): void {
    this.#wasted += this.#swarm?.stats().wasted ?? 0;
    this.#swarm = undefined;
  }

  addDirect(length: number): void {
    this.#direct += length;
  }

  /** All bytes were wrong and are fetched anew. */
  startOver(): void {
    this.left();
    this.#wasted += this.#partial.written;
    this.#resumed = 0;
    this.#direct = 0;
  }

  progress(): BlobProgress {
    const { digest, size } = this.#descriptor;
    const stats = this.#swarm?.stats();
    this.#mostPeers = Math.max(this.#mostPeers, stats?.peers ?? 0);
    const inSwarm = (stats?.fromStorage ?? 0) + (stats?.fromPeers ?? 0) + (stats?.fromRegistry ?? 0);
    return {
      digest,
      size,
      received: stats === undefined ? this.#partial.written : inSwarm,
      fromPeers: stats?.fromPeers ?? 0,
      fromRegistry: this.#direct + (stats?.fromRegistry ?? 0),
      peers: stats?.peers ?? 0,
      downloadRate: stats?.downloadRate ?? 0,
      uploadRate: stats?.uploadRate ?? 0,
    };
  }

  /**
   * Of a blob that is complete. What an earlier run left counts only as far as it verified; the rest, and nothing
   * else, came from the registry, so the sum is the size whatever was thrown away on the way.
   */
  outcome(): BlobOutcome {
    const { size } = this.#descriptor;
    const stats = this.#swarm?.stats();
    const fromPeers = stats?.fromPeers ?? 0;
    const fromStore = Math.min(this.#resumed, stats?.fromStorage ?? this.#resumed);
    const fromRegistry = size - fromPeers - fromStore;
    const received = this.#direct + (stats?.fromRegistry ?? 0);
    return {
      fromPeers,
      fromStore,
      fromRegistry,
      alreadyInEngine: 0,
      wasted: this.#wasted + (stats?.wasted ?? 0) + Math.max(0, received - fromRegistry),
      peers: this.#mostPeers,
      seconds: (performance.now() - this.#started) / 1000,
    };
  }
}

/** How fast the registry has been in this run, for estimating what a download will take. */
export class Pace {
  #bytesPerSecond = 0;

  observe({ fromRegistry, seconds }: BlobOutcome): void {
    if (fromRegistry > 0 && seconds > 0)
      this.#bytesPerSecond = Math.max(this.#bytesPerSecond, fromRegistry / seconds);
  }

  /** Seconds for so many bytes; 0 for unknown. */
  estimate(size: number): number {
    return this.#bytesPerSecond === 0 ? 0 : size / this.#bytesPerSecond;
  }
}
