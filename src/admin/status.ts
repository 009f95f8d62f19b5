/**
 * What the admin listener tells, as JSON below `/api/v1/` (docs/api.md). Bytes are integers, rates bytes per second, times
 * milliseconds since 1970. Fields may be added; a change of what is there takes `/api/v2/`.
 */

/** Bytes that nodes received, by where they came from. */
export interface Sums {
  readonly fromPeers: number;
  /** From the registry, or from the torrent service in its place. */
  readonly fromRegistry: number;
}

/** What was received per step of time; the last step is the present one and not over. */
export interface History {
  /** Beginning of the first step. */
  readonly from: number;
  readonly stepSeconds: number;
  readonly fromPeers: readonly number[];
  readonly fromRegistry: readonly number[];
}

/** Something that is being made, or waits for it. */
export interface Work {
  readonly what: 'hashing' | 'squashed or ACI';
  readonly name: string;
  readonly size: number;
  readonly read: number;
  readonly etaSeconds: number;
  readonly isBegun: boolean;
}

/** Something went wrong lately; the same text is told once, with how often. */
export interface Trouble {
  readonly message: string;
  readonly count: number;
  readonly lastAt: number;
}

export interface Status {
  readonly schemaVersion: 1;
  /** Who answers: the torrent service, which hears of all nodes, or a mirror, which knows itself and its peers. */
  readonly role: 'service' | 'mirror';
  readonly version: string;
  readonly at: number;
  /** The process. */
  readonly startedAt: number;
  /** What it stands in front of. */
  readonly upstreams: readonly string[];
  /** `external`: nodes are known by their requests for torrents and their reports alone. */
  readonly tracker: 'embedded' | 'external';
  /** All that was counted, and since when. */
  readonly total: Sums & { readonly since: number };
  readonly day: Sums;
  readonly now: {
    readonly swarms: number;
    readonly nodes: number;
    readonly seeds: number;
    readonly leeches: number;
    readonly rate: number;
  };
  /** Swarms or nodes were left out, because there are too many to follow. */
  readonly isPartial: boolean;
  readonly work: readonly Work[];
  readonly disk: { readonly used: number; readonly limit: number; readonly free: number } | undefined;
  readonly keys: readonly { readonly id: string; readonly madeAt: number; readonly signs: boolean }[];
  readonly troubles: readonly Trouble[];
}

/** One blob, and those who exchange it. */
export interface SwarmRow extends Sums {
  /** Names it here; the info hash is a capability and is told to nobody. */
  readonly id: string;
  /** Empty where the service was restarted and nobody has asked for the torrent since. */
  readonly repository: string;
  readonly kind: 'layer' | 'squashed' | 'aci';
  /** As far as their manifests passed through here. */
  readonly tags: readonly string[];
  readonly digest: string;
  readonly size: number;
  readonly pieces: number;
  readonly seeds: number;
  readonly leeches: number;
  /** Of those who are not done, 0 to 1; 1 without any. */
  readonly medianDone: number;
  readonly rate: number;
  /** Until the last node is done; absent where none moves. */
  readonly etaSeconds?: number;
  readonly seenAt: number;
}

export interface NodeRow extends Sums {
  readonly id: string;
  readonly address: string;
  /** On which it accepts peers; absent where it has not told. */
  readonly port?: number;
  readonly version?: string;
  readonly pulls: number;
  readonly holds: number;
  /** Repositories of what it pulls, else holds; a few. */
  readonly names: readonly string[];
  readonly given: number;
  readonly rate: number;
  readonly seenAt: number;
  readonly isHere: boolean;
  /** Whether a connection to its port came about. */
  readonly reachable: 'yes' | 'no' | 'unknown';
}

/** One node in a swarm that is looked at. */
export interface MemberRow extends Sums {
  readonly node: string;
  readonly address: string;
  readonly done: number;
  readonly isSeed: boolean;
  readonly rate: number;
  /** Bits of the pieces, the first in the highest bit of the first byte (BEP 3), in base64; absent until it told. */
  readonly have?: string;
  /** Pieces on their way from peers. */
  readonly fetching?: readonly number[];
  /** Pieces that it takes from the registry. */
  readonly claimed?: readonly number[];
}

export interface SwarmDetail extends SwarmRow {
  readonly members: readonly MemberRow[];
}

/** A part of a list. */
export interface Page<Row> {
  readonly total: number;
  readonly rows: readonly Row[];
}

/** Which part: `limit` and `offset`, and whose text contains `query`. */
export interface PageQuery {
  readonly limit: number;
  readonly offset: number;
  readonly query: string;
}

/** Whoever knows. */
export interface StatusSource {
  status(): Promise<Status>;
  history(): History;
  /** Busy ones first. */
  swarms(query: PageQuery): Page<SwarmRow>;
  nodes(query: PageQuery): Page<NodeRow>;
  /** Undefined for an id that is not known. Nodes are asked for their pieces while somebody calls this. */
  swarm(id: string): SwarmDetail | undefined;
  /** Somebody looks on; nodes then report more often. @returns ends it */
  watch(): () => void;
}
