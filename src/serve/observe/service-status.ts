import type {
  History,
  NodeRow,
  Page,
  PageQuery,
  Status,
  StatusSource,
  SwarmDetail,
  SwarmRow,
  Work,
} from '../../admin/status.ts';
import { isDigest, shortDigest } from '../../image/digest.ts';
import type { BlobCache } from '../cache/blob-cache.ts';
import type { DerivedImages } from '../derived/derived-images.ts';
import type { Job } from '../jobs.ts';
import type { KeyRing } from '../tokens/key-ring.ts';
import type { Hashing } from '../torrents/hashing.ts';
import { ConnectBack } from './connect-back.ts';
import type { Observer } from './observer.ts';
import type { Troubles } from './troubles.ts';

/** Jobs that are shown; the others are counted by the metrics. */
const MAX_WORK = 30;

export interface ServiceStatusOptions {
  readonly observer: Observer;
  readonly troubles: Troubles;
  readonly hashing: Pick<Hashing, 'jobs'>;
  readonly derived: Pick<DerivedImages, 'jobs'>;
  readonly cache: Pick<BlobCache, 'counts' | 'freeBytes'>;
  readonly keys: Pick<KeyRing, 'list'>;
  readonly version: string;
  readonly upstreams: readonly string[];
  readonly tracker: Status['tracker'];
}

/** What the service's admin listener tells. */
export class ServiceStatus implements StatusSource {
  readonly #options: ServiceStatusOptions;
  readonly #connectBack: ConnectBack;
  readonly #startedAt = Date.now();

  constructor(options: ServiceStatusOptions) {
    this.#options = options;
    this.#connectBack = new ConnectBack(options.observer);
  }

  async status(): Promise<Status> {
    const { observer, troubles, hashing, derived, cache, keys, version, upstreams, tracker } = this.#options;
    const at = Date.now();
    return {
      ...{ schemaVersion: 1, role: 'service', version, at, startedAt: this.#startedAt, upstreams, tracker },
      total: observer.total,
      day: observer.ring.sums(at),
      now: observer.counts(),
      isPartial: observer.isPartial,
      work: [
        ...hashing.jobs().map(([key, job]) => workOf('hashing', key, job)),
        ...derived.jobs().map(([key, job]) => workOf('squashed or ACI', key, job)),
      ].slice(0, MAX_WORK),
      disk: { used: cache.counts.bytes, limit: cache.counts.limit, free: await cache.freeBytes() },
      keys: await keys.list(),
      troubles: troubles.list,
    };
  }

  history(): History {
    return this.#options.observer.ring.history(Date.now());
  }

  swarms(query: PageQuery): Page<SwarmRow> {
    return this.#options.observer.swarms(query);
  }

  nodes(query: PageQuery): Page<NodeRow> {
    this.#connectBack.look();
    return this.#options.observer.nodes(query);
  }

  swarm(id: string): SwarmDetail | undefined {
    return this.#options.observer.swarm(id);
  }

  watch(): () => void {
    return this.#options.observer.watch();
  }
}

function workOf(what: Work['what'], key: string, job: Job<unknown>): Work {
  const { size, read, isBegun } = job;
  const name = isDigest(key) ? shortDigest(key) : key.slice(0, 12);
  return { what, name, size, read, isBegun, etaSeconds: Math.round(job.etaSeconds * 10) / 10 };
}
