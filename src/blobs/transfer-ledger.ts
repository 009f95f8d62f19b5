import { Rate } from '../base/rate.ts';
import type { PartialBlob } from '../store/blob-store.ts';
import type { Meeting, Swarm } from '../swarm/swarm-client.ts';
import type { BlobProgress } from './blob-events.ts';

/** Where the bytes of one blob came from, integer bytes: size = the sum of the four sources. */
export interface BlobOutcome {
  readonly fromPeers: number;
  readonly fromRegistry: number;
  readonly fromStore: number;
  readonly alreadyInEngine: number;
  /** Received and thrown away, on top of `size`. */
  readonly wasted: number;
  /** The most peers that were connected at one moment. */
  readonly peers: number;
  /** Absent where no swarm was joined. */
  readonly meeting?: Meeting;
  readonly seconds: number;
}

export const NOTHING: BlobOutcome = {
  fromPeers: 0,
  fromRegistry: 0,
  fromStore: 0,
  alreadyInEngine: 0,
  wasted: 0,
  peers: 0,
  seconds: 0,
};

/** Counts which source brought how many bytes of one blob, and how fast. */
export class TransferLedger {
  readonly #partial: PartialBlob;
  readonly #started = performance.now();
  /** Here from an earlier run. */
  #resumed: number;
  /** From the registry, outside of the swarm. */
  #direct = 0;
  readonly #directRate = new Rate(() => this.#direct);
  #wasted = 0;
  #mostPeers = 0;
  #swarm: Swarm | undefined;
  /** Of the swarm that was left. */
  #meeting: Meeting | undefined;

  constructor(partial: PartialBlob) {
    this.#partial = partial;
    this.#resumed = partial.written;
  }

  get swarm(): Swarm | undefined {
    return this.#swarm;
  }

  joined(swarm: Swarm): void {
    this.#swarm = swarm;
  }

  /** Leaves the swarm, whose bytes are no longer trusted. */
  async leave(): Promise<void> {
    const swarm = this.#swarm;
    this.#meeting = swarm?.stats().meeting ?? this.#meeting;
    this.#swarm = undefined;
    this.#wasted += swarm?.stats().wasted ?? 0;
    await swarm?.leave();
  }

  addDirect(length: number): void {
    this.#direct += length;
  }

  /** All bytes were wrong and are fetched again. */
  startOver(): void {
    this.#wasted += this.#partial.written;
    this.#resumed = 0;
    this.#direct = 0;
  }

  progress(): BlobProgress {
    const { digest, size } = this.#partial.descriptor;
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
      downloadRate: Math.round(this.#directRate.perSecond + (stats?.downloadRate ?? 0)),
      uploadRate: Math.round(stats?.uploadRate ?? 0),
    };
  }

  /**
   * Of a blob that is complete. What an earlier run left counts only as far as it verified. The rest came from the
   * registry, so that the sum is the size, whatever was thrown away on the way.
   */
  outcome(): BlobOutcome {
    const { size } = this.#partial.descriptor;
    const stats = this.#swarm?.stats();
    const fromPeers = stats?.fromPeers ?? 0;
    const fromStore = Math.min(this.#resumed, stats?.fromStorage ?? this.#resumed);
    const fromRegistry = size - fromPeers - fromStore;
    const received = this.#direct + (stats?.fromRegistry ?? 0);
    const meeting = stats?.meeting ?? this.#meeting;
    return {
      fromPeers,
      fromStore,
      fromRegistry,
      alreadyInEngine: 0,
      wasted: this.#wasted + (stats?.wasted ?? 0) + Math.max(0, received - fromRegistry),
      peers: this.#mostPeers,
      ...(meeting === undefined ? {} : { meeting }),
      seconds: (performance.now() - this.#started) / 1000,
    };
  }
}

/** How fast the registry has been in this process, to estimate how long a download will take. */
export class ThroughputEstimate {
  #bytesPerSecond = 0;

  observe({ fromRegistry, seconds }: BlobOutcome): void {
    if (fromRegistry === 0 || seconds === 0) return;
    this.#bytesPerSecond = Math.max(this.#bytesPerSecond, fromRegistry / seconds);
  }

  /** Seconds that `size` bytes would take; 0 while nothing is known. */
  secondsFor(size: number): number {
    return this.#bytesPerSecond === 0 ? 0 : size / this.#bytesPerSecond;
  }
}
