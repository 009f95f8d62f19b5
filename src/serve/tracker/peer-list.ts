import { addressGroup } from '../../base/address-group.ts';
import { isLoopbackAddress } from '../../base/ip-address.ts';

/** What a peer says of itself. */
export interface Announcement {
  /** 40 hex digits. */
  readonly peerId: string;
  /** Where the announce came from; nobody else can take the entry away. */
  readonly source: string;
  /** The subject of the token that the peer showed; undefined for strangers, who are counted by their site alone. */
  readonly subject?: string | undefined;
  readonly ip: string;
  readonly port: number;
  readonly complete: boolean;
  /** Milliseconds on the clock of `now`; after it the peer is taken for gone. */
  readonly expires: number;
}

/** The number of peers now, and of completed downloads (BEP 48). */
export interface SwarmCount {
  readonly complete: number;
  readonly incomplete: number;
  readonly downloaded: number;
}

/** Peers of one swarm. Further peers are still told of these. */
const MAX_PEERS = 5000;
/** Peers of one swarm of one site, so that none fills a swarm with peers that it invents. */
const MAX_PEERS_PER_SITE = 500;
/** Peers of one swarm with the tokens of one account, which a fleet may share. */
const MAX_PEERS_PER_SUBJECT = 2500;

/** The peers of one swarm, by the site that they announce from; those of a site that came back last at the end. */
export class PeerList {
  readonly #sites = new Map<string, Map<string, Announcement>>();
  readonly #perSubject = new Map<string, number>();
  #size = 0;
  /** How many told that they had completed, while somebody was here. */
  downloaded = 0;

  get size(): number {
    return this.#size;
  }

  /** Where there is no room the oldest peer goes of the same site or subject, and of the largest site where all is full. */
  add(peer: Announcement): void {
    this.remove(peer);
    const site = addressGroup(peer.source);
    const { subject } = peer;
    if ((this.#sites.get(site)?.size ?? 0) >= MAX_PEERS_PER_SITE) this.#removeOldest(site);
    else if (subject !== undefined && (this.#perSubject.get(subject) ?? 0) >= MAX_PEERS_PER_SUBJECT) {
      const oldest = this.#all().find((other) => other.subject === subject);
      if (oldest !== undefined) this.remove(oldest);
    } else if (this.#size >= MAX_PEERS) this.#removeOldest(this.#largestSite());
    const peers = this.#sites.get(site) ?? new Map<string, Announcement>();
    this.#sites.set(site, peers.set(key(peer), peer));
    this.#size++;
    if (subject !== undefined) this.#perSubject.set(subject, (this.#perSubject.get(subject) ?? 0) + 1);
  }

  remove(peer: Pick<Announcement, 'peerId' | 'source'>): void {
    const site = addressGroup(peer.source);
    const peers = this.#sites.get(site);
    const known = peers?.get(key(peer));
    if (peers === undefined || known === undefined) return;
    peers.delete(key(peer));
    if (peers.size === 0) this.#sites.delete(site);
    this.#size--;
    if (known.subject === undefined) return;
    const left = (this.#perSubject.get(known.subject) ?? 1) - 1;
    if (left === 0) this.#perSubject.delete(known.subject);
    else this.#perSubject.set(known.subject, left);
  }

  expire(now: number): void {
    for (const peer of this.#all()) if (peer.expires <= now) this.remove(peer);
  }

  count(): SwarmCount {
    let complete = 0;
    for (const peer of this.#all()) if (peer.complete) complete++;
    return { complete, incomplete: this.#size - complete, downloaded: this.downloaded };
  }

  /**
   * At most `wanted` others, chosen at random, each address once: no seeds for a seed, and no loopback addresses for
   * a peer that is not on loopback.
   */
  others(asking: Announcement, wanted: number): readonly Announcement[] {
    const local = isLoopbackAddress(asking.source);
    const found = new Map<string, Announcement>();
    for (const peer of this.#all()) {
      if (peer.peerId === asking.peerId || (peer.complete && asking.complete)) continue;
      if (!local && isLoopbackAddress(peer.ip)) continue;
      found.set(`${peer.ip} ${peer.port}`, peer);
    }
    return sample([...found.values()], wanted);
  }

  *#all(): Generator<Announcement, undefined> {
    for (const peers of this.#sites.values()) yield* peers.values();
  }

  #largestSite(): string {
    let [largest, most] = ['', 0];
    for (const [site, { size }] of this.#sites) if (size > most) [largest, most] = [site, size];
    return largest;
  }

  #removeOldest(site: string): void {
    const [oldest] = this.#sites.get(site)?.values() ?? [];
    if (oldest !== undefined) this.remove(oldest);
  }
}

function key({ source, peerId }: Pick<Announcement, 'peerId' | 'source'>): string {
  return `${source} ${peerId}`;
}

/** Fisher and Yates, as far as needed; reorders `items`. */
function sample<T>(items: T[], wanted: number): T[] {
  const count = Math.min(wanted, items.length);
  for (let at = 0; at < count; at++) {
    const other = at + Math.floor(Math.random() * (items.length - at));
    [items[at], items[other]] = [items[other] as T, items[at] as T];
  }
  return items.slice(0, count);
}
