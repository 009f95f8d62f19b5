import type { PieceGeometry } from '../../metainfo/metainfo.ts';
import type { ClaimMessage, RelayedMessage } from './claim-messages.ts';
import type { ClaimsLink } from './claims-extension.ts';
import { ClaimBook, type ClaimTimeouts } from './claims.ts';
import { ClaimPeers, type ClaimPeersOptions } from './claim-peers.ts';
import { PieceTimes } from './piece-times.ts';
import { peerTag, rendezvousOrder } from './rendezvous.ts';
import { decideShares, type OpenPiece, type ShareDecision } from './fetch-policy.ts';
import { SlowPeers } from './slow-peers.ts';
import { SoleHolder } from './sole-holder.ts';
import { StallDetector } from './stall-detector.ts';

/** Between a claim and its request: two claims of one moment meet before bytes are asked for. Milliseconds. */
const SETTLE_MS = 30;
/** Peers that the tracker named are waited for, with few pieces open, for so long. */
const EXPECT_MS = 3000;
/** Nodes that start together begin one after the other while nobody answers: no sooner, and within. */
const EARLY_FIRST_MS = 150;
const EARLY_SPREAD_MS = 350;
/** Weight of the newest half second in a rate. */
const RATE_WEIGHT = 0.4;
/** A claim is believed at least so long before the end (4 s were far too short: measured). */
const ABANDONED_MS = 15_000;
/** How often an idle node looks for claims that it could take over. */
const TAKE_OVER_MS = 100;
/** At the end a claim is late sooner, in means of the time of a piece: flows through one pipe are very unequal. */
const END_PATIENCE = 4;

/** The registry as FetchCoordinator sees it; RegistrySeed. */
export interface RegistryPieces {
  readonly open: ReadonlyMap<number, OpenPiece>;
  /** Bytes. */
  readonly received: number;
  readonly lost: unknown;
  isResting(index: number): boolean;
  fetch(indexes: readonly number[], delayMs: number): void;
  /** What is arriving is broken off. */
  release(indexes: readonly number[]): void;
}

/** `Peer`: one connection, whatever it is. */
export interface FetchCoordinatorOptions<Peer> extends Omit<
  ClaimPeersOptions<Peer>,
  'selfTag' | 'pieceCount' | 'onReady' | 'onMessage'
> {
  readonly selfId: string;
  readonly geometry: PieceGeometry;
  /** Connected peers that are not stalled, and how many of them have a piece. */
  readonly availability: { readonly wires: ReadonlySet<Peer>; of(index: number): number };
  readonly has: (index: number) => boolean;
  readonly registry: RegistryPieces | undefined;
  /** Milliseconds; performance.now() by default. */
  readonly now?: () => number;
}

/** Carries out the FetchPolicy: hears claims, decides, opens pieces at the registry, tells the others. */
export class FetchCoordinator<Peer> {
  readonly #options: FetchCoordinatorOptions<Peer>;
  readonly #now: () => number;
  readonly #tag: number;
  readonly #book = new ClaimBook();
  readonly #times = new PieceTimes();
  readonly #neighbours: ClaimPeers<Peer>;
  /** Own claims that others know of -> when they were made. */
  readonly #claimed = new Map<number, number>();
  #order: readonly number[];
  /** Pieces that were opened without peers. */
  readonly #hasty = new Set<number>();
  readonly #spread = new SoleHolder();
  readonly #standstill: StallDetector;
  /** Missing pieces that somebody waits for. */
  readonly #wanted = new Set<number>();
  #settled = false;
  #early = false;
  #expectingUntil = -Infinity;
  #seeds = false;
  #lookedAt = -Infinity;
  #receivedBefore = 0;
  #registrySpeed = 0;
  readonly #slowPeers = new SlowPeers();

  constructor(options: FetchCoordinatorOptions<Peer>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#tag = peerTag(options.selfId, options.infoHash);
    this.#order = rendezvousOrder(options.geometry.pieceCount, this.#tag);
    this.#standstill = new StallDetector(this.#now());
    this.#neighbours = new ClaimPeers({
      ...options,
      selfTag: this.#tag,
      pieceCount: options.geometry.pieceCount,
      onReady: (link) => {
        this.#place();
        // No longer alone: first let go of what was too much, then tell of the rest.
        this.decide();
        this.#sendOpening(link);
      },
      onMessage: (from, message) => this.#heard(from, message),
    });
  }

  /** What the registry brings now, bytes per second. */
  get registrySpeed(): number {
    return this.#options.registry?.lost === undefined ? this.#registrySpeed : 0;
  }

  /** When `early` is to be called, milliseconds after the first announce. */
  get earlyMs(): number {
    return EARLY_FIRST_MS + (this.#tag / 2 ** 32) * EARLY_SPREAD_MS;
  }

  /** Nobody has answered yet, and it is this node's turn to begin. */
  early(): void {
    this.#early = true;
    this.decide();
  }

  /** The tracker named nobody, or has had its time. */
  settle(): void {
    this.#settled = true;
    this.decide();
  }

  /** The tracker named peers. @param seeds some of them have all */
  expect(seeds = false): void {
    this.#expectingUntil = this.#now() + EXPECT_MS;
    this.#seeds = seeds;
    this.#settled = true;
    this.#place();
    this.decide();
  }

  /** Somebody waits for these pieces. */
  want(pieces: readonly number[]): void {
    for (const index of pieces) this.#wanted.add(index);
    this.decide();
  }

  joined(peer: Peer): void {
    // Who does not fetch need not be told, and is not counted on.
    if (this.#options.registry !== undefined) this.#neighbours.joined(peer);
  }

  left(peer: Peer, gone: string | undefined): void {
    this.#neighbours.left(peer);
    this.#place();
    if (gone === undefined) return;
    this.#neighbours.note(this.#book.forget(peerTag(gone, this.#options.infoHash)));
  }

  hasPiece(peer: Peer, index: number): void {
    const { availability } = this.#options;
    if (availability.of(index) <= 1) {
      this.#standstill.news(this.#now());
      this.#spread.begins(index, this.#now());
    }
    const tag = this.#book.isAbout(index) ? this.#neighbours.tagOf(peer) : undefined;
    if (tag === undefined) return;
    const took = this.#book.fulfilled(tag, index, this.#now());
    if (took !== undefined) this.#times.observe(took);
  }

  /** Pieces came back from the registry without their bytes. */
  closed(pieces: readonly number[]): void {
    if (pieces.length > 0) this.#neighbours.tell({ kind: 'drop', pieces });
  }

  /** @param peerBytes received from peers since the last call; @param seconds since then */
  tick(peerBytes: number, seconds: number): void {
    const { registry, has } = this.#options;
    const now = this.#now();
    this.#order = this.#order.filter((index) => !has(index));
    for (const index of this.#hasty) if (has(index)) this.#hasty.delete(index);
    if (registry === undefined) return;
    const bytes = registry.received - this.#receivedBefore;
    this.#receivedBefore = registry.received;
    this.#registrySpeed += RATE_WEIGHT * (bytes / seconds - this.#registrySpeed);
    this.#book.expire(now, this.#patience());
    const backlog = this.#look(now);
    this.#slowPeers.observe({
      ms: seconds * 1000,
      fromPeers: peerBytes,
      fromRegistry: bytes,
      backlog,
      fetcher: this.#neighbours.isFetcher,
    });
    this.#place();
  }

  decide(): void {
    const { registry } = this.#options;
    this.#neighbours.passOn(this.#now());
    if (registry === undefined || registry.lost !== undefined) return;
    this.#learn(registry);
    let decision = this.#decision(registry);
    if (decision.open.length === 0 && this.#takesOver(registry)) decision = this.#decision(registry);
    const { open, release } = decision;
    if (release.length > 0) {
      registry.release(release);
      this.#neighbours.tell({ kind: 'drop', pieces: release });
    }
    if (open.length === 0) return;
    const now = this.#now();
    const among = this.#neighbours.size > 0 || now < this.#expectingUntil;
    for (const index of open) {
      if (this.#neighbours.size > 0) this.#claimed.set(index, now);
      else this.#hasty.add(index);
    }
    registry.fetch(open, among ? SETTLE_MS : 0);
    this.#neighbours.tell({ kind: 'claim', pieces: open });
  }

  #decision(registry: RegistryPieces): ShareDecision {
    const { geometry, availability, has } = this.#options;
    const peers = availability.wires.size;
    for (const index of this.#wanted) if (has(index)) this.#wanted.delete(index);
    const expecting = this.#now() < this.#expectingUntil ? (this.#seeds ? 'seeders' : 'leechers') : 'none';
    return decideShares({
      selfTag: this.#tag,
      pieceLength: geometry.pieceLength,
      pieceCount: geometry.pieceCount,
      order: this.#order,
      wanted: [...this.#wanted],
      has,
      open: registry.open,
      hasty: (index) => this.#hasty.has(index),
      held: (index) => this.#isHeld(index),
      claimers: (index) => this.#book.claimers(index),
      resting: (index) => registry.isResting(index),
      peers,
      expecting,
      // Peers that came first are as good as the tracker's word.
      settled: this.#settled || peers > 0,
      early: this.#early,
      fetcher: this.#neighbours.isFetcher,
      slowPeers: this.#slowPeers.areSlow,
      knowsRegistry: !this.#slowPeers.isTrying,
      pieceMs: this.#times.pace,
    });
  }

  #isHeld(index: number): boolean {
    return this.#spread.isHeld(
      index,
      this.#options.availability.of(index),
      this.#now(),
      this.#times.patience,
    );
  }

  /** What has come of own claims. */
  #learn(registry: RegistryPieces): void {
    for (const [index, since] of this.#claimed) {
      if (registry.open.has(index)) continue;
      this.#claimed.delete(index);
      if (!this.#options.has(index)) continue;
      const now = this.#now();
      this.#times.observe(now - since);
      this.#book.kept(since);
      this.#standstill.news(now);
    }
  }

  /** At the end, with nothing left to do but what others are slow with. */
  #takesOver(registry: RegistryPieces): boolean {
    const now = this.#now();
    const idle = this.#neighbours.isFetcher && registry.open.size === 0 && this.#times.mean !== undefined;
    if (!idle || now - this.#lookedAt < TAKE_OVER_MS) return false;
    this.#lookedAt = now;
    const patience = this.#patience();
    const soon = Math.max(this.#times.patience, END_PATIENCE * this.#times.mean);
    return this.#book.expire(now, { ...patience, overtaken: soon });
  }

  #patience(): ClaimTimeouts {
    const { patience, mean } = this.#times;
    const abandoned = Math.max(ABANDONED_MS, mean === undefined ? patience : 4 * patience);
    // Before the end nobody waits for one piece: there are others to fetch.
    return { overtaken: abandoned, abandoned, doubted: patience };
  }

  /** Once in a while, for it costs a look at all pieces. @returns bytes that peers have and this node lacks */
  #look(now: number): number {
    const { geometry, availability, has } = this.#options;
    let backlog = 0;
    let isWork = false;
    for (const index of this.#order) {
      if (has(index)) continue;
      if (availability.of(index) > 0) backlog += geometry.pieceLength;
      else isWork ||= this.#book.claimers(index).length === 0;
    }
    if (!isWork || this.#neighbours.isFetcher) this.#standstill.news(now);
    this.#standstill.look(now, this.#times.mean === undefined ? undefined : this.#times.patience);
    return backlog;
  }

  /** What this node's place in the swarm depends on has changed. */
  #place(): void {
    this.#neighbours.place(this.#order.length, this.#standstill.count);
  }

  /** A new peer is told what is open here, and what is known of others. */
  #sendOpening(link: ClaimsLink): void {
    const open = [...(this.#options.registry?.open ?? [])];
    for (const kind of ['fetching', 'claim'] as const) {
      const pieces = open.filter(([, { requested }]) => requested === (kind === 'fetching'));
      link.send({ kind, pieces: pieces.map(([index]) => index) });
    }
  }

  #heard(from: number, message: ClaimMessage): void {
    const others = 'claims' in message ? this.#ofOthers(message) : message;
    const news = this.#book.hear(from, others, this.#now());
    this.#neighbours.note(news);
    this.decide();
  }

  /** This node's own claims come back to it. */
  #ofOthers({ kind, claims }: RelayedMessage): RelayedMessage {
    return { kind, claims: claims.filter(({ tag }) => tag !== this.#tag) };
  }
}
