import { isLoopbackAddress } from '../../base/ip-address.ts';

/** What a peer says of itself. */
export interface Announcement {
  /** 40 hex digits. */
  readonly peerId: string;
  /** Where the announce came from; nobody else can take the entry away. */
  readonly source: string;
  readonly ip: string;
  readonly port: number;
  readonly complete: boolean;
  /** Milliseconds on the clock of `now`; after it the peer is taken for gone. */
  readonly expires: number;
}

/** Of peers now, and of downloads that came to their end (BEP 48). */
export interface SwarmCount {
  readonly complete: number;
  readonly incomplete: number;
  readonly downloaded: number;
}

/** A swarm of machines that pull one layer; more are still told of these. */
const MAX_PEERS = 5000;
/** Machines behind one address translation; one that invents peers fills no swarm. */
const MAX_PEERS_PER_SOURCE = 500;

/** The peers of one swarm, those that came back last at the end. */
export class PeerList {
  readonly #peers = new Map<string, Announcement>();
  readonly #perSource = new Map<string, number>();
  /** How many told that they had completed, while somebody was here. */
  downloaded = 0;

  get size(): number {
    return this.#peers.size;
  }

  add(peer: Announcement): void {
    this.remove(peer);
    const fromSource = this.#perSource.get(peer.source) ?? 0;
    if (fromSource >= MAX_PEERS_PER_SOURCE) this.#removeOldest((other) => other.source === peer.source);
    if (this.#peers.size >= MAX_PEERS) this.#removeOldest(() => true);
    this.#peers.set(key(peer), peer);
    this.#perSource.set(peer.source, (this.#perSource.get(peer.source) ?? 0) + 1);
  }

  remove(peer: Pick<Announcement, 'peerId' | 'source'>): void {
    if (!this.#peers.delete(key(peer))) return;
    const left = (this.#perSource.get(peer.source) ?? 1) - 1;
    if (left === 0) this.#perSource.delete(peer.source);
    else this.#perSource.set(peer.source, left);
  }

  expire(now: number): void {
    for (const peer of this.#peers.values()) if (peer.expires <= now) this.remove(peer);
  }

  count(): SwarmCount {
    let complete = 0;
    for (const peer of this.#peers.values()) if (peer.complete) complete++;
    return { complete, incomplete: this.#peers.size - complete, downloaded: this.downloaded };
  }

  /**
   * At most `wanted` others, chosen at random, each address once: no seeds for a seed, and no loopback addresses for
   * a peer that is not on loopback.
   */
  others(asking: Announcement, wanted: number): readonly Announcement[] {
    const local = isLoopbackAddress(asking.source);
    const found = new Map<string, Announcement>();
    for (const peer of this.#peers.values()) {
      if (peer.peerId === asking.peerId || (peer.complete && asking.complete)) continue;
      if (!local && isLoopbackAddress(peer.ip)) continue;
      found.set(`${peer.ip} ${peer.port}`, peer);
    }
    return sample([...found.values()], wanted);
  }

  #removeOldest(matching: (peer: Announcement) => boolean): void {
    for (const peer of this.#peers.values()) {
      if (!matching(peer)) continue;
      this.remove(peer);
      return;
    }
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
