import type { ClaimMessage, RelayedMessage } from './claim-messages.ts';
import type { ClaimsHandlers, ClaimsLink } from './claims-extension.ts';
import { hasStrangers, isFetcher, seekersOf, type Standing } from './fetchers.ts';
import { pairWeight, peerTag } from './rendezvous.ts';

/** How many peers are told what a node has heard: enough to reach everybody, few enough to cost nothing. */
const RELAYS = 12;
/** News is passed on together, at most this often: at the start of a large swarm all have some. Milliseconds. */
const TOGETHER_MS = 40;

/** What the claims room needs to know of a connected peer. */
export interface SwarmPeer {
  readonly peerId: string;
  /** Pieces that it has. */
  readonly count: number;
}

export interface ClaimPeersOptions<Peer> {
  /** peerTag of this node. */
  readonly selfTag: number;
  readonly infoHash: string;
  readonly pieceCount: number;
  /** Adds the extension to a connection. */
  readonly connect: (peer: Peer, handlers: ClaimsHandlers) => ClaimsLink;
  /** For the simulator's experiments: how many nodes fetch. */
  readonly fetchers?: number | undefined;
  /** The peer supports claims: it is to be told what is open here. */
  readonly onReady: (link: ClaimsLink) => void;
  readonly onMessage: (from: number, message: ClaimMessage) => void;
}

interface Linked {
  readonly link: ClaimsLink;
  readonly tag: number;
  ready: boolean;
}

/** The connected peers that support claims: this node's rank among them, and which of them is told what. */
export class ClaimPeers<Peer extends SwarmPeer> {
  readonly #options: ClaimPeersOptions<Peer>;
  readonly #links = new Map<Peer, Linked>();
  readonly #gossip = new Gossip();
  #relays: readonly Linked[] = [];
  #isFetcher = true;
  #seekers = 0;
  #seeds = 0;

  constructor(options: ClaimPeersOptions<Peer>) {
    this.#options = options;
  }

  get size(): number {
    return this.#links.size;
  }

  /** This node is one of those that fetch from the registry. */
  get isFetcher(): boolean {
    return this.#isFetcher;
  }

  /** Connected nodes that miss pieces, this one not counted. */
  get seekers(): number {
    return this.#seekers;
  }

  /** Connected nodes that have everything, as of the last `rank`. */
  get seeds(): number {
    return this.#seeds;
  }

  tagOf(peer: Peer): number | undefined {
    return this.#links.get(peer)?.tag;
  }

  joined(peer: Peer): void {
    const { infoHash, connect, onReady, onMessage } = this.#options;
    const tag = peerTag(peer.peerId, infoHash);
    const link = connect(peer, {
      onReady: () => {
        linked.ready = true;
        onReady(link);
      },
      onMessage: (message) => onMessage(tag, message),
    });
    const linked: Linked = { link, tag, ready: false };
    this.#links.set(peer, linked);
  }

  left(peer: Peer): void {
    this.#links.delete(peer);
  }

  /**
   * Looks anew whether this node is one that fetches, and to which peers it relays what it hears.
   * @param missing pieces that this node lacks
   * @param swarmSize nodes that miss pieces, this one included, as a tracker counts them; undefined: not known
   */
  rank(missing: number, swarmSize: number | undefined, stalls: number): void {
    const standing = this.#standing(missing, swarmSize, stalls);
    this.#seekers = seekersOf(standing);
    this.#seeds = 0;
    for (const { count } of this.#links.keys()) if (count === this.#options.pieceCount) this.#seeds++;
    this.#isFetcher = isFetcher(standing, this.#options.fetchers);
    this.#relays = hasStrangers(standing)
      ? [...this.#links.values()]
          .filter(({ ready }) => ready)
          .sort((a, b) => pairWeight(this.#options.selfTag, b.tag) - pairWeight(this.#options.selfTag, a.tag))
          .slice(0, RELAYS)
      : [];
  }

  tell(message: ClaimMessage): void {
    for (const { link } of this.#links.values()) link.send(message);
  }

  /** Something about others, to be passed on in a swarm that nobody knows as a whole. */
  note(news: RelayedMessage | undefined): void {
    if (news !== undefined && this.#relays.length > 0) this.#gossip.note(news);
  }

  passOn(now: number): void {
    for (const message of this.#gossip.take(now)) for (const { link } of this.#relays) link.send(message);
  }

  #standing(missing: number, swarmSize: number | undefined, stalls: number): Standing {
    const { selfTag, pieceCount } = this.#options;
    const others = [...this.#links]
      .filter(([, { ready }]) => ready)
      .map(([peer, { tag }]) => ({ tag, count: peer.count }))
      .filter(({ count }) => count < pieceCount);
    const self = { tag: selfTag, count: pieceCount - missing };
    return { self, others, swarmSize, pieceCount, stalls };
  }
}

/** What a node has heard of others' claims and is to relay. A claim that ends before it was relayed never is. */
class Gossip {
  #made = new Map<string, { readonly index: number; readonly tag: number }>();
  #ended = new Map<string, { readonly index: number; readonly tag: number }>();
  #passedAt = -Infinity;

  note({ kind, claims }: RelayedMessage): void {
    for (const claim of claims) {
      const key = `${claim.index} ${claim.tag}`;
      if (kind === 'relayed') this.#made.set(key, claim);
      else if (!this.#made.delete(key)) this.#ended.set(key, claim);
    }
  }

  /** What is to be told now. */
  take(now: number): readonly RelayedMessage[] {
    if (now - this.#passedAt < TOGETHER_MS || this.#made.size + this.#ended.size === 0) return [];
    this.#passedAt = now;
    const messages: RelayedMessage[] = [
      { kind: 'withdrawn', claims: [...this.#ended.values()] },
      { kind: 'relayed', claims: [...this.#made.values()] },
    ];
    this.#made = new Map();
    this.#ended = new Map();
    return messages.filter(({ claims }) => claims.length > 0);
  }
}
