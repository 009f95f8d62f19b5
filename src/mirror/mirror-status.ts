import { createHash } from 'node:crypto';
import type {
  History,
  MemberRow,
  NodeRow,
  Page,
  PageQuery,
  Status,
  StatusSource,
  SwarmDetail,
  SwarmRow,
} from '../admin/status.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import type { Downloads } from '../blobs/downloads.ts';
import type { Digest } from '../image/digest.ts';
import { DayRing } from '../serve/observe/day-ring.ts';
import { Troubles } from '../serve/observe/troubles.ts';
import type { Swarm } from '../swarm/swarm-client.ts';

/** Names of blobs that are remembered, for their rows. */
const MAX_NAMES = 5000;

export interface MirrorStatusOptions {
  readonly downloads: Downloads;
  readonly registries: readonly string[];
  readonly version: string;
}

/** One blob of this node that is on its way, or given to others. */
interface Row {
  readonly digest: Digest;
  readonly size: number;
  readonly have: number;
  readonly rate: number;
  readonly fromPeers: number;
  readonly fromRegistry: number;
  readonly swarm: Swarm | undefined;
  readonly isSeed: boolean;
}

/** What the mirror's admin listener tells: of this node alone, and of those with whom it is connected. Since its start. */
export class MirrorStatus implements StatusSource {
  readonly #options: MirrorStatusOptions;
  readonly #ring = new DayRing();
  readonly #troubles = new Troubles();
  readonly #startedAt = Date.now();
  readonly #total = { fromPeers: 0, fromRegistry: 0 };
  readonly #fetched = new Map<Digest, { repository: string; fromPeers: number; fromRegistry: number }>();

  constructor(options: MirrorStatusOptions) {
    this.#options = options;
  }

  /** Told of what downloads do. */
  readonly listener = (event: BlobEvent): void => {
    if (event.kind === 'warning') this.#troubles.add(event.message);
    if (event.kind !== 'fetched') return;
    const { digest, name, fromPeers, fromRegistry } = event;
    this.#ring.add({ fromPeers, fromRegistry }, Date.now());
    this.#total.fromPeers += fromPeers;
    this.#total.fromRegistry += fromRegistry;
    const repository = name === undefined ? '' : `${name.registry}/${name.repository}`;
    this.#fetched.set(digest, { repository, fromPeers, fromRegistry });
    const [oldest] = this.#fetched.keys();
    if (this.#fetched.size > MAX_NAMES && oldest !== undefined) this.#fetched.delete(oldest);
  };

  async status(): Promise<Status> {
    const { registries, version } = this.#options;
    const at = Date.now();
    const rows = this.#rows();
    return {
      ...{ schemaVersion: 1, role: 'mirror', version, at, startedAt: this.#startedAt, upstreams: registries },
      tracker: 'embedded',
      total: { ...this.#total, since: this.#startedAt },
      day: this.#ring.sums(at),
      now: {
        swarms: rows.length,
        nodes: this.nodes({ limit: 0, offset: 0, query: '' }).total,
        seeds: rows.filter(({ isSeed }) => isSeed).length,
        leeches: rows.filter(({ isSeed }) => !isSeed).length,
        rate: rows.reduce((sum, { rate }) => sum + rate, 0),
      },
      isPartial: false,
      work: [],
      disk: undefined,
      keys: [],
      troubles: this.#troubles.list,
    };
  }

  history(): History {
    return this.#ring.history(Date.now());
  }

  swarms({ limit, offset, query }: PageQuery): Page<SwarmRow> {
    const rows = this.#rows()
      .map((row) => this.#swarmRow(row))
      .filter(({ repository, digest }) => query === '' || `${repository} ${digest}`.includes(query));
    return { total: rows.length, rows: rows.slice(offset, offset + limit) };
  }

  nodes({ limit, offset, query }: PageQuery): Page<NodeRow> {
    const nodes = new Map<string, NodeRow>();
    for (const { swarm, digest } of this.#rows()) {
      for (const { address, state, share = 0 } of swarm?.contacts() ?? []) {
        if (state !== 'connected') continue;
        const before = nodes.get(address);
        const isDone = share === 1;
        const name = this.#fetched.get(digest)?.repository ?? '';
        nodes.set(address, {
          ...{ id: nameOf(address), address, given: 0, fromPeers: 0, fromRegistry: 0, rate: 0 },
          pulls: (before?.pulls ?? 0) + (isDone ? 0 : 1),
          holds: (before?.holds ?? 0) + (isDone ? 1 : 0),
          names: [...new Set([...(before?.names ?? []), name])].filter((each) => each !== ''),
          seenAt: Date.now(),
          isHere: true,
          reachable: 'unknown',
        });
      }
    }
    const found = [...nodes.values()].filter(({ address }) => query === '' || address.includes(query));
    return { total: found.length, rows: found.slice(offset, offset + limit) };
  }

  swarm(id: string): SwarmDetail | undefined {
    const row = this.#rows().find(({ digest }) => nameOf(digest) === id);
    if (row === undefined) return undefined;
    return { ...this.#swarmRow(row), members: membersOf(row) };
  }

  watch(): () => void {
    return () => undefined;
  }

  #rows(): Row[] {
    const { downloads } = this.#options;
    const running = downloads.list().map((download): Row => {
      const { digest, size, received, fromPeers, fromRegistry, downloadRate } = download.progress();
      const { swarm } = download;
      return {
        digest,
        size,
        have: received,
        rate: downloadRate,
        fromPeers,
        fromRegistry,
        swarm,
        isSeed: false,
      };
    });
    const seeds = downloads.seeds.list().map(({ digest, swarm }): Row => {
      const { fromPeers, fromRegistry, fromStorage } = swarm.stats();
      const size = fromPeers + fromRegistry + fromStorage;
      const fetched = this.#fetched.get(digest) ?? { fromPeers: 0, fromRegistry: 0 };
      const { fromPeers: peers, fromRegistry: registry } = fetched;
      return {
        digest,
        size,
        have: size,
        rate: 0,
        fromPeers: peers,
        fromRegistry: registry,
        swarm,
        isSeed: true,
      };
    });
    return [...running, ...seeds];
  }

  #swarmRow(row: Row): SwarmRow {
    const { digest, size, have, rate, fromPeers, fromRegistry, swarm, isSeed } = row;
    const download = this.#options.downloads.find(digest);
    const name = download?.origin.name;
    const repository =
      name === undefined
        ? (this.#fetched.get(digest)?.repository ?? '')
        : `${name.registry}/${name.repository}`;
    const connected = swarm?.contacts().filter(({ state }) => state === 'connected') ?? [];
    const full = connected.filter(({ share = 0 }) => share === 1).length;
    return {
      ...{
        id: nameOf(digest),
        repository,
        kind: 'layer',
        tags: [],
        digest,
        size,
        rate,
        fromPeers,
        fromRegistry,
      },
      pieces: swarm?.pieceCount ?? 1,
      seeds: full + (isSeed ? 1 : 0),
      leeches: connected.length - full + (isSeed ? 0 : 1),
      medianDone: size === 0 ? 1 : have / size,
      ...(isSeed || rate === 0 ? {} : { etaSeconds: Math.round((size - have) / rate) }),
      seenAt: Date.now(),
    };
  }
}

/** This node first, then those with whom it is connected. */
function membersOf({ swarm, have, size, rate, fromPeers, fromRegistry, isSeed }: Row): MemberRow[] {
  const pieces = swarm?.pieces();
  const self: MemberRow = {
    ...{ node: 'self', address: 'this node', done: size === 0 ? 1 : have / size, isSeed, rate },
    ...{ fromPeers, fromRegistry },
    ...(pieces === undefined || isSeed
      ? {}
      : { ...pieces, have: Buffer.from(pieces.have).toString('base64') }),
  };
  const others = swarm?.contacts().filter(({ state }) => state === 'connected') ?? [];
  return [
    self,
    ...others.map(({ address, share = 0 }) => ({
      ...{ node: nameOf(address), address, done: share, isSeed: share === 1 },
      ...{ rate: 0, fromPeers: 0, fromRegistry: 0 },
    })),
  ];
}

function nameOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
