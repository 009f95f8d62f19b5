import type { RateLimiter } from '../base/rate-limiter.ts';
import type { Engine } from '../engines/engine.ts';
import type { Repository, TorrentService } from '../registry/repository.ts';
import type { Store } from '../store/store.ts';
import type { SwarmClient } from '../swarm/swarm-client.ts';
import type { Listener } from './events.ts';

/** What downloading blobs, and giving them to others, takes. */
export interface FetchWorld {
  readonly repository: Pick<Repository, 'blob'>;
  readonly torrents: Pick<TorrentService, 'torrent'>;
  readonly store: Store;
  /** Opened at the first torrent: a pull that needs none never loads BitTorrent. */
  readonly swarm: () => Promise<SwarmClient>;
  /** Shared with the swarm, so that `--download-rate` binds everything together. */
  readonly downloadLimiter: RateLimiter;
  readonly listener: Listener;
}

/** The worlds that meet in this room, opened by the composition root. One repository, one run. */
export interface World extends FetchWorld {
  readonly repository: Repository;
  readonly torrents: TorrentService;
  /** Absent for `quayctl torrent ...`. */
  readonly engine?: Engine;
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
