import { createHash } from 'node:crypto';
import { pieceGeometry } from '../../metainfo/geometry.ts';
import type { Digest } from '../../image/digest.ts';
import type { InfoHash } from '../../metainfo/info-hash.ts';
import type { MemberRow, SwarmDetail, SwarmRow, Sums } from '../../admin/status.ts';
import type { Pieces } from './report.ts';

/** A rate that nothing has confirmed for so long is none. Milliseconds. */
const RATE_STALE_MS = 45_000;
/** Between two numbers that make a rate; closer ones say nothing. */
const RATE_SPAN_MS = 500;
/** Members of an opened swarm that are shown. */
const MAX_MEMBERS_SHOWN = 200;

/** What is known of a torrent from the request for it. */
export interface SwarmName {
  readonly repository: string;
  readonly digest: Digest | '';
  readonly size: number;
  readonly kind: SwarmRow['kind'];
}

/** A node, over all its swarms. Counts only grow. */
export class ObservedNode {
  readonly id: string;
  readonly address: string;
  port: number;
  version: string | undefined;
  fromPeers = 0;
  fromRegistry = 0;
  given = 0;
  seenAt = 0;
  reachable: 'yes' | 'no' | 'unknown' = 'unknown';
  /** When a connection to it was tried last. */
  triedAt = 0;
  readonly memberships = new Map<ObservedSwarm, Member>();

  constructor(key: string, address: string, port: number) {
    this.id = shortName(key);
    this.address = address;
    this.port = port;
  }
}

/** A node in one swarm. */
export class Member {
  readonly node: ObservedNode;
  /** The process of the node whose report was counted last; undefined before the first. */
  run: string | undefined;
  fromPeers = 0;
  fromRegistry = 0;
  /** Bytes on its disk. */
  have = 0;
  isSeed = false;
  seenAt = 0;
  expires = 0;
  pieces: Pieces | undefined;
  #given = 0;
  #givenRun = '';
  #rate = 0;
  #ratedAt = 0;
  #ratedBytes = 0;

  constructor(node: ObservedNode) {
    this.node = node;
  }

  /** @param given by that process in this swarm, which only grows; another process begins at nothing */
  gave(given: number, run: string): void {
    if (this.#givenRun !== run) this.#given = 0;
    this.#givenRun = run;
    if (given <= this.#given) return;
    this.node.given += given - this.#given;
    this.#given = given;
  }

  moved(have: number, now: number): void {
    const ms = now - this.#ratedAt;
    this.have = have;
    if (ms < RATE_SPAN_MS) return;
    if (this.#ratedAt > 0) this.#rate = Math.max(0, (have - this.#ratedBytes) / (ms / 1000));
    this.#ratedAt = now;
    this.#ratedBytes = have;
  }

  rate(now: number): number {
    return this.isSeed || now - this.#ratedAt > RATE_STALE_MS ? 0 : this.#rate;
  }
}

/** One torrent and those who are in it. */
export class ObservedSwarm {
  readonly id: string;
  readonly members = new Map<ObservedNode, Member>();
  name: SwarmName;
  fromPeers = 0;
  fromRegistry = 0;
  seenAt = 0;
  /** Until when somebody is taken to look at its pieces. */
  openUntil = 0;

  constructor(infoHash: InfoHash, name: SwarmName) {
    this.id = shortName(infoHash);
    this.name = name;
  }

  add({ fromPeers, fromRegistry }: Sums): void {
    this.fromPeers += fromPeers;
    this.fromRegistry += fromRegistry;
  }

  row(tags: readonly string[], now: number): SwarmRow {
    const { repository, digest, size, kind } = this.name;
    const missing = [...this.members.values()].filter(({ isSeed }) => !isSeed);
    const seconds = missing.map((member) => (size - member.have) / member.rate(now)).filter(Number.isFinite);
    const slowest = Math.max(...seconds);
    return {
      ...{ id: this.id, repository, kind, tags, digest, size },
      pieces: pieceGeometry(size).pieceCount,
      seeds: this.members.size - missing.length,
      leeches: missing.length,
      medianDone: median(missing.map(({ have }) => have / size)),
      rate: Math.round(missing.reduce((sum, member) => sum + member.rate(now), 0)),
      fromPeers: this.fromPeers,
      fromRegistry: this.fromRegistry,
      ...(seconds.length === 0 ? {} : { etaSeconds: Math.round(slowest * 10) / 10 }),
      seenAt: this.seenAt,
    };
  }

  detail(tags: readonly string[], now: number): SwarmDetail {
    const members = [...this.members.values()]
      .toSorted((a, b) => a.node.address.localeCompare(b.node.address) || a.node.port - b.node.port)
      .slice(0, MAX_MEMBERS_SHOWN);
    return {
      ...this.row(tags, now),
      members: members.map((member) => memberRow(member, this.name.size, now)),
    };
  }
}

function memberRow(member: Member, size: number, now: number): MemberRow {
  const { node, pieces, isSeed, have, fromPeers, fromRegistry } = member;
  return {
    node: node.id,
    address: node.port === 0 ? node.address : `${withBrackets(node.address)}:${node.port}`,
    done: isSeed ? 1 : have / size,
    isSeed,
    rate: Math.round(member.rate(now)),
    fromPeers,
    fromRegistry,
    ...(pieces === undefined || isSeed
      ? {}
      : {
          have: Buffer.from(pieces.have).toString('base64'),
          fetching: pieces.fetching,
          claimed: pieces.claimed,
        }),
  };
}

/** A name for what is not to be told. */
function shortName(secret: string): string {
  return createHash('sha256').update(secret).digest('hex').slice(0, 16);
}

function withBrackets(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 1;
}
