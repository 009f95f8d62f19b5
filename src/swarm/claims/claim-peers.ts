import type { ClaimMessage, RelayedMessage } from './claim-messages.ts';
import type { ClaimsHandlers, ClaimsLink } from './claims-extension.ts';
import { hasStrangers, isFetcher, type Standing } from './fetchers.ts';
import { Gossip } from './gossip.ts';
import { pairWeight, peerTag } from './rendezvous.ts';

/** So many peers are told what a node has heard: enough to reach everybody, few enough to cost nothing. */
const RELAYS = 12;

/** `Peer`: one connection, whatever it is. */
export interface ClaimPeersOptions<Peer> {
  /** peerTag of this node. */
  readonly selfTag: number;
  readonly infoHash: string;
  readonly pieceCount: number;
  readonly peerIdOf: (peer: Peer) => string;
  /** How many pieces it has. */
  readonly countOf: (peer: Peer) => number;
  readonly link: (peer: Peer, handlers: ClaimsHandlers) => ClaimsLink;
  /** Nodes that miss pieces, this one included, as a tracker counts them; undefined: not known. */
  readonly swarmSize: () => number | undefined;
  /** For the simulator's experiments. */
  readonly fetchers?: number | undefined;
  /** It speaks claims: it is to be told what is open here. */
  readonly onReady: (link: ClaimsLink) => void;
  readonly onMessage: (from: number, message: ClaimMessage) => void;
}

interface Linked {
  readonly link: ClaimsLink;
  readonly tag: number;
  ready: boolean;
}

/** The connected peers that speak claims: this node's place among them, and who is told what. */
export class ClaimPeers<Peer> {
  readonly #options: ClaimPeersOptions<Peer>;
  readonly #links = new Map<Peer, Linked>();
  readonly #hearsay = new Gossip();
  #relays: readonly Linked[] = [];
  #isFetcher = true;

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

  tagOf(peer: Peer): number | undefined {
    return this.#links.get(peer)?.tag;
  }

  joined(peer: Peer): void {
    const { peerIdOf, infoHash, link: connect, onReady, onMessage } = this.#options;
    const tag = peerTag(peerIdOf(peer), infoHash);
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

  /** Looks anew for this node's place in the swarm, and for whom it tells what it hears. */
  place(missing: number, stalls: number): void {
    const standing = this.#standing(missing, stalls);
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
    if (news !== undefined && this.#relays.length > 0) this.#hearsay.note(news);
  }

  passOn(now: number): void {
    for (const message of this.#hearsay.take(now)) for (const { link } of this.#relays) link.send(message);
  }

  #standing(missing: number, stalls: number): Standing {
    const { selfTag, pieceCount, countOf, swarmSize } = this.#options;
    const others = [...this.#links]
      .filter(([, { ready }]) => ready)
      .map(([peer, { tag }]) => ({ tag, count: countOf(peer) }))
      .filter(({ count }) => count < pieceCount);
    const self = { tag: selfTag, count: pieceCount - missing };
    return { self, others, swarmSize: swarmSize(), pieceCount, stalls };
  }
}
