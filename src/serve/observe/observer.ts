import type { InfoHash } from '../../metainfo/info-hash.ts';
import type { NodeRow, Page, PageQuery, Sums, SwarmDetail, SwarmRow } from '../../admin/status.ts';
import { DayRing } from './day-ring.ts';
import { Member, ObservedNode, ObservedSwarm, type SwarmName } from './observed.ts';
import type { Report } from './report.ts';
import { TagBook } from './tag-book.ts';

/** Swarms that are remembered, also without anybody in them; about 500 bytes each. */
export const MAX_SWARMS = 5000;
/** Nodes that are remembered; about 700 bytes each with what else is known of them. */
const MAX_NODES = 20_000;
/** Nodes in swarms, a node counting once for each; about 400 bytes each. Those beyond are not shown. */
const MAX_MEMBERS = 50_000;
/** A swarm without anybody is shown for so long. */
const SWARM_KEPT_MS = 24 * 3600_000;
/** A node that was in no swarm since is shown for so long. */
const NODE_KEPT_MS = 3600_000;
const SWEEP_MS = 10_000;

/** Seconds between two reports of a node that pulls: for a swarm that somebody has open, ... */
const OPEN_SECONDS = 2;
/** ... while somebody looks at the page, ... */
const WATCHED_SECONDS = 4;
/** ... and otherwise. */
const UNWATCHED_SECONDS = 15;
/** With more nodes than this, each reports more rarely. Reports per second. */
const REPORTS_PER_SECOND = 200;
/** A node that has not reported for so many turns is taken for gone. */
const MISSED_REPORTS = 4;
/** A node that said it is done may be in no swarm, and then nothing tells when it leaves. */
const DONE_KEPT_MS = 60_000;
/** Somebody who looks at a swarm asks again within this time. */
const OPEN_MS = 6000;
/** Repositories that a node's row names. */
const NAMES_OF_NODE = 3;

/** Ports below belong to services of the machine itself, and are not tried. */
const LOWEST_PORT = 1024;
const BY_ADDRESS = new Intl.Collator('en', { numeric: true });

/** An announce, whose token was good. */
export interface ObservedAnnounce {
  readonly infoHash: InfoHash;
  /** Of the process, 40 hex digits. */
  readonly peerId: string;
  /** Where it came from. */
  readonly source: string;
  readonly port: number;
  readonly left: number;
  readonly uploaded: number;
  readonly isStopped: boolean;
  /** Milliseconds after which it is taken for gone. */
  readonly expiresMs: number;
}

/** When the node is to report again, and whether with its pieces. */
export interface ReportAnswer {
  readonly again: number;
  readonly pieces?: true;
}

/**
 * What the service knows of the nodes that use it: from requests for torrents, announces and reports. In memory, bounded;
 * nothing of the service's own work depends on it.
 */
export class Observer {
  readonly tags = new TagBook();
  readonly ring = new DayRing();
  readonly #swarms = new Map<InfoHash, ObservedSwarm>();
  /** By what `keyOf` makes of their address; those that told last at the end. */
  readonly #nodes = new Map<string, ObservedNode>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #now: () => number;
  #memberCount = 0;
  #watchers = 0;
  #isPartial = false;
  #total = { fromPeers: 0, fromRegistry: 0, since: 0 };

  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.#total.since = now();
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  /** What was counted since `since`; survives the process. */
  get total(): Sums & { readonly since: number } {
    return this.#total;
  }

  get isPartial(): boolean {
    return this.#isPartial;
  }

  get swarmCount(): number {
    return this.#swarms.size;
  }

  /** Torrents by their name; the latest last. */
  names(): [InfoHash, SwarmName][] {
    return [...this.#swarms].map(([infoHash, { name }]) => [infoHash, name]);
  }

  /** What an earlier run kept. */
  restore(
    total: Sums & { readonly since: number },
    names: readonly (readonly [InfoHash, SwarmName])[],
  ): void {
    this.#total = { ...total };
    for (const [infoHash, name] of names) this.#swarm(infoHash, name);
  }

  /** Somebody was given a torrent. @param client in place of an announce, where there is no tracker of our own */
  torrent(infoHash: InfoHash, name: SwarmName, client?: string): void {
    const swarm = this.#swarm(infoHash, name);
    swarm.seenAt = this.#now();
    if (client === undefined) return;
    const member = this.#member(swarm, client, 0);
    if (member !== undefined) this.#seen(swarm, member, DONE_KEPT_MS);
  }

  announced(announce: ObservedAnnounce): void {
    const { infoHash, source, port, left, uploaded, peerId, isStopped, expiresMs } = announce;
    const swarm = this.#swarms.get(infoHash);
    // After a restart a seed announces what nobody has asked for since: its size is not known then.
    if (swarm === undefined) return;
    if (isStopped) {
      const node = this.#nodes.get(keyOf(source, port));
      const member = node && swarm.members.get(node);
      if (member !== undefined) {
        member.gave(uploaded, peerId);
        this.#leave(swarm, member);
      }
      return;
    }
    const member = this.#member(swarm, source, port);
    if (member === undefined) return;
    member.gave(uploaded, peerId);
    member.isSeed = left === 0;
    member.moved(Math.max(0, swarm.name.size - Math.max(0, left)), this.#now());
    this.#seen(swarm, member, expiresMs);
  }

  /** @returns undefined where the report contradicts what is known of the torrent */
  reported(infoHash: InfoHash, client: string, report: Report): ReportAnswer | undefined {
    const unknown = { repository: '', digest: '', size: report.size, kind: 'layer' } as const;
    const swarm = this.#swarms.get(infoHash) ?? this.#swarm(infoHash, unknown);
    if (swarm.name.size !== report.size) return undefined;
    const node = this.#node(client, report.port);
    const isOver = report.state !== 'pulling';
    // The last word of a node that has left must not bring it back.
    const member = swarm.members.get(node) ?? (isOver ? undefined : this.#member(swarm, client, report.port));
    const before = member?.run === report.peer ? member : report.told;
    this.#count(swarm, node, {
      fromPeers: report.fromPeers - before.fromPeers,
      fromRegistry: report.fromRegistry - before.fromRegistry,
    });
    node.version = report.version;
    node.seenAt = swarm.seenAt = this.#now();
    const isOpen = swarm.openUntil > this.#now();
    const again = this.#secondsToReport(isOpen);
    if (member !== undefined) this.#update(swarm, member, report, again);
    this.#forgetRequest(swarm, client, node);
    return isOpen ? { again, pieces: true } : { again };
  }

  counts(): { swarms: number; nodes: number; seeds: number; leeches: number; rate: number } {
    const now = this.#now();
    const counts = { swarms: 0, nodes: 0, seeds: 0, leeches: 0, rate: 0 };
    for (const { members } of this.#swarms.values()) {
      if (members.size > 0) counts.swarms++;
      for (const member of members.values()) {
        counts[member.isSeed ? 'seeds' : 'leeches']++;
        counts.rate += member.rate(now);
      }
    }
    for (const { memberships } of this.#nodes.values()) if (memberships.size > 0) counts.nodes++;
    return { ...counts, rate: Math.round(counts.rate) };
  }

  /** Those in which somebody misses pieces first, then those with members, then the latest. */
  swarms({ limit, offset, query }: PageQuery): Page<SwarmRow> {
    const now = this.#now();
    const found = [...this.#swarms.values()].filter(
      ({ name: { repository, digest } }) => query === '' || `${repository} ${digest}`.includes(query),
    );
    const rank = (swarm: ObservedSwarm): number =>
      [...swarm.members.values()].some(({ isSeed }) => !isSeed) ? 2 : Math.min(1, swarm.members.size);
    const ranked = found.map((swarm) => ({ swarm, rank: rank(swarm) }));
    ranked.sort((a, b) => b.rank - a.rank || b.swarm.seenAt - a.swarm.seenAt);
    const rows = ranked.slice(offset, offset + limit).map(({ swarm }) => swarm.row(this.#tagsOf(swarm), now));
    return { total: found.length, rows };
  }

  /** Those that pull first, then those that hold something, then those that have left. */
  nodes({ limit, offset, query }: PageQuery): Page<NodeRow> {
    const now = this.#now();
    const found = [...this.#nodes.values()].filter(
      ({ address, version = '' }) => query === '' || `${address} ${version}`.includes(query),
    );
    const rank = (node: ObservedNode): number =>
      [...node.memberships.values()].some(({ isSeed }) => !isSeed) ? 2 : Math.min(1, node.memberships.size);
    const ranked = found.map((node) => ({ node, rank: rank(node) }));
    ranked.sort((a, b) => b.rank - a.rank || compareAddresses(a.node, b.node));
    const rows = ranked.slice(offset, offset + limit).map(({ node }) => nodeRow(node, now));
    return { total: found.length, rows };
  }

  /** Its nodes are asked for their pieces for some seconds. */
  swarm(id: string): SwarmDetail | undefined {
    const swarm = this.#swarms.values().find((each) => each.id === id);
    if (swarm === undefined) return undefined;
    const now = this.#now();
    swarm.openUntil = now + OPEN_MS;
    return swarm.detail(this.#tagsOf(swarm), now);
  }

  /** Somebody looks on. @returns ends it */
  watch(): () => void {
    this.#watchers++;
    let isOver = false;
    return () => {
      if (!isOver) this.#watchers--;
      isOver = true;
    };
  }

  /** Those whose port should be tried. @param before which it must not have been tried */
  untried(most: number, before: number): ObservedNode[] {
    return this.#nodes
      .values()
      .filter(
        ({ port, triedAt, memberships }) => port >= LOWEST_PORT && triedAt < before && memberships.size > 0,
      )
      .take(most)
      .toArray();
  }

  /** Lets go of whoever is gone, and of pictures that nobody looks at. */
  sweep(): void {
    const now = this.#now();
    for (const [infoHash, swarm] of this.#swarms) {
      for (const member of swarm.members.values()) {
        if (member.expires <= now) this.#leave(swarm, member);
        else if (swarm.openUntil <= now) member.pieces = undefined;
      }
      if (swarm.members.size === 0 && swarm.seenAt < now - SWARM_KEPT_MS) this.#swarms.delete(infoHash);
    }
    for (const [key, node] of this.#nodes)
      if (node.memberships.size === 0 && node.seenAt < now - NODE_KEPT_MS) this.#nodes.delete(key);
    this.#isPartial &&= this.#memberCount >= MAX_MEMBERS || this.#swarms.size >= MAX_SWARMS;
  }

  close(): void {
    clearInterval(this.#sweeper);
  }

  #secondsToReport(isOpen: boolean): number {
    const base = isOpen ? OPEN_SECONDS : this.#watchers > 0 ? WATCHED_SECONDS : UNWATCHED_SECONDS;
    return Math.max(base, Math.ceil(this.#memberCount / REPORTS_PER_SECOND));
  }

  #update(swarm: ObservedSwarm, member: Member, report: Report, again: number): void {
    const { state, peer, have, pieces, given, fromPeers, fromRegistry } = report;
    member.gave(given, peer);
    Object.assign(member, { run: peer, fromPeers, fromRegistry, isSeed: state === 'done' });
    member.moved(have, this.#now());
    if (state !== 'pulling') member.pieces = undefined;
    else if (pieces !== undefined && swarm.openUntil > this.#now()) member.pieces = pieces;
    this.#seen(swarm, member, state === 'pulling' ? again * MISSED_REPORTS * 1000 : DONE_KEPT_MS);
    if (state === 'failed') this.#leave(swarm, member);
  }

  /** Who was known by its request alone has told who it is. */
  #forgetRequest(swarm: ObservedSwarm, client: string, node: ObservedNode): void {
    const key = keyOf(client, 0);
    const asked = this.#nodes.get(key);
    if (asked === undefined || asked === node) return;
    const member = swarm.members.get(asked);
    if (member !== undefined) this.#leave(swarm, member);
    if (asked.memberships.size === 0) this.#nodes.delete(key);
  }

  #count(swarm: ObservedSwarm, node: ObservedNode, bytes: Sums): void {
    swarm.add(bytes);
    this.ring.add(bytes, this.#now());
    this.#total.fromPeers += bytes.fromPeers;
    this.#total.fromRegistry += bytes.fromRegistry;
    node.fromPeers += bytes.fromPeers;
    node.fromRegistry += bytes.fromRegistry;
  }

  #seen(swarm: ObservedSwarm, member: Member, keptMs: number): void {
    const now = this.#now();
    const { node } = member;
    swarm.seenAt = node.seenAt = member.seenAt = now;
    member.expires = Math.max(member.expires, now + keptMs);
  }

  #leave(swarm: ObservedSwarm, { node }: Member): void {
    if (swarm.members.delete(node)) this.#memberCount--;
    node.memberships.delete(swarm);
  }

  #swarm(infoHash: InfoHash, name: SwarmName): ObservedSwarm {
    const swarm = this.#swarms.get(infoHash) ?? new ObservedSwarm(infoHash, name);
    if (name.repository !== '') swarm.name = name;
    this.#swarms.delete(infoHash);
    this.#swarms.set(infoHash, swarm);
    if (this.#swarms.size > MAX_SWARMS) {
      this.#isPartial = true;
      const [oldest] = this.#swarms;
      if (oldest !== undefined) {
        for (const member of oldest[1].members.values()) this.#leave(oldest[1], member);
        this.#swarms.delete(oldest[0]);
      }
    }
    return swarm;
  }

  #node(address: string, port: number): ObservedNode {
    const key = keyOf(address, port);
    const node = this.#nodes.get(key) ?? new ObservedNode(key, address, port);
    this.#nodes.delete(key);
    this.#nodes.set(key, node);
    if (this.#nodes.size > MAX_NODES) {
      this.#isPartial = true;
      const [oldest] = this.#nodes;
      if (oldest !== undefined) {
        for (const [swarm, member] of oldest[1].memberships) this.#leave(swarm, member);
        this.#nodes.delete(oldest[0]);
      }
    }
    return node;
  }

  /** Undefined where there is no room. */
  #member(swarm: ObservedSwarm, address: string, port: number): Member | undefined {
    const node = this.#node(address, port);
    const known = swarm.members.get(node);
    if (known !== undefined) return known;
    if (this.#memberCount >= MAX_MEMBERS) {
      this.#isPartial = true;
      return undefined;
    }
    const member = new Member(node);
    swarm.members.set(node, member);
    node.memberships.set(swarm, member);
    this.#memberCount++;
    return member;
  }

  #tagsOf({ name: { repository, digest } }: ObservedSwarm): string[] {
    return digest === '' ? [] : this.tags.tagsOf(repository, digest);
  }
}

function keyOf(address: string, port: number): string {
  return `${address} ${port}`;
}

function nodeRow(node: ObservedNode, now: number): NodeRow {
  const memberships = [...node.memberships];
  const pulled = memberships.filter(([, { isSeed }]) => !isSeed);
  const named = pulled.length > 0 ? pulled : memberships;
  const { id, address, port, version, fromPeers, fromRegistry, given, seenAt, reachable } = node;
  return {
    ...{ id, address, fromPeers, fromRegistry, given, seenAt, reachable },
    ...(port === 0 ? {} : { port }),
    ...(version === undefined ? {} : { version }),
    pulls: pulled.length,
    holds: memberships.length - pulled.length,
    names: [...new Set(named.map(([{ name }]) => name.repository))].slice(0, NAMES_OF_NODE),
    rate: Math.round(pulled.reduce((sum, [, member]) => sum + member.rate(now), 0)),
    isHere: memberships.length > 0,
  };
}

function compareAddresses(a: ObservedNode, b: ObservedNode): number {
  return BY_ADDRESS.compare(a.address, b.address) || a.port - b.port;
}
