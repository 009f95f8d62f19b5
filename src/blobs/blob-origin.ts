import type { OriginName } from './blob-events.ts';
import type { BlobSource } from './blob-source.ts';
import type { TorrentFinder } from './torrent-finder.ts';

/** How blobs may be obtained; from the command line. */
export interface FetchRules {
  /** `--skip-web-seed`: blobs come from peers only, never from the registry. */
  readonly skipWebSeed: boolean;
  /** Without a registry: how long a piece that no peer has is waited for, milliseconds. */
  readonly waitForPeersMs: number;
  /** `--tracker`: used in place of the torrent's own trackers; empty for those. */
  readonly trackers: readonly string[];
}

/** Where the blobs of one repository come from, and under which rules. */
export interface BlobOrigin {
  readonly name?: OriginName | undefined;
  readonly source: BlobSource;
  readonly torrents: TorrentFinder;
  readonly rules: FetchRules;
}
