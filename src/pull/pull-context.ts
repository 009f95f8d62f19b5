import type { BlobOrigin, FetchRules } from '../blobs/blob-origin.ts';
import { registrySource } from '../blobs/blob-source.ts';
import type { Downloads } from '../blobs/downloads.ts';
import { TorrentFinder } from '../blobs/torrent-finder.ts';
import type { Engine } from '../engines/engine.ts';
import type { Repository, TorrentService } from '../registry/repository.ts';
import type { Store } from '../store/store.ts';
import type { Listener } from './events.ts';

/** What all pulls and seeds of one process share. */
export interface SharedServices {
  readonly store: Store;
  readonly downloads: Downloads;
  readonly listener: Listener;
}

/** What the pulls of one repository work with. */
export interface PullContext extends SharedServices {
  /** For people and for counting. */
  readonly name?: BlobOrigin['name'];
  readonly repository: Repository;
  readonly torrents: TorrentService;
  /** Absent for `quayctl torrent ...`. */
  readonly engine?: Engine;
}

/** How an image may be obtained; the flags of the command line, parsed. */
export interface PullRules extends FetchRules {
  /** `--offline-ok`: a registry that does not answer is replaced by what the store and the service know. */
  readonly offlineOk: boolean;
}

/** Where the blobs of the context's repository come from. */
export function repositoryOrigin(context: PullContext, rules: FetchRules): BlobOrigin {
  return {
    name: context.name,
    source: registrySource(context.repository),
    torrents: new TorrentFinder(context),
    rules,
  };
}
