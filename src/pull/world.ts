import type { RateLimiter } from '../base/rate-limiter.ts';
import type { Engine } from '../engines/engine.ts';
import type { Repository, TorrentService } from '../registry/repository.ts';
import type { Store } from '../store/store.ts';
import type { SwarmClient } from '../swarm/swarm-client.ts';
import type { Listener } from './events.ts';

/** The worlds that meet in this room, opened by the composition root. One repository, one run. */
export interface World {
  readonly repository: Repository;
  readonly torrents: TorrentService;
  readonly store: Store;
  /** Opened at the first torrent: a pull that needs none never loads BitTorrent. */
  readonly swarm: () => Promise<SwarmClient>;
  /** Absent for `quayctl torrent ...`. */
  readonly engine?: Engine;
  /** Shared with the swarm, so that `--download-rate` binds everything together. */
  readonly downloadLimiter: RateLimiter;
  readonly listener: Listener;
}

/** How blobs may be obtained; the flags of the contract, parsed. */
export interface FetchRules {
  /** Blobs only from peers, never from the registry. */
  readonly skipWebSeed: boolean;
  readonly waitForPeersMs: number;
  /** `--tracker`; empty for the torrent's own. */
  readonly trackers: readonly string[];
  readonly offlineOk: boolean;
}
