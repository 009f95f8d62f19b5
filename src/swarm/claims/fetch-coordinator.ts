import type { ClaimMessage, RelayedMessage } from './claim-messages.ts';
import { ClaimBook, type ClaimTimeouts } from './claim-book.ts';
import { ClaimPeers, type ClaimPeersOptions, type SwarmPeer } from './claim-peers.ts';
import type { ClaimsLink } from './claims-extension.ts';
import { PieceTimes } from './piece-times.ts';
import { peerTag, rendezvousOrder } from './rendezvous.ts';
import { decideShares, type ShareDecision } from './fetch-policy.ts';
import { SoleHolder, StallDetector } from './stalls.ts';
import { StartUp } from './start-up.ts';
import { SupplyWatch, type SupplyWatchOptions } from './supply-watch.ts';
import type { RegistryPieces, SwarmView } from './swarm-view.ts';

/** Between a claim and its request: two claims of one moment meet before bytes are asked for. Milliseconds. */
const SETTLE_MS = 30;
/** Weight of the newest half second in a rate. */
const RATE_WEIGHT = 0.4;
/** A claim is believed at least so long before the end (4 s were far too short: measured). */
const ABANDONED_MS = 15_000;
/** How often an idle node looks for claims that it could take over. */
const TAKE_OVER_MS = 100;
/** At the end a claim is late sooner, in means of the time of a piece: flows through one pipe are very unequal. */
const END_LATE_MEANS = 4;

export interface FetchCoordinatorOptions<Peer>
  extends Pick<ClaimPeersOptions<Peer>, 'connect' | 'fetchers'>, SupplyWatchOptions {
  readonly selfId: string;
  readonly infoHash: string;
  readonly registry: RegistryPieces | undefined;
  /** Milliseconds; performance.now() by default. */
  readonly now?: () => number;
}

/** Carries out the FetchPolicy: hears claims, decides, opens pieces at the registry, tells the others. */
export class FetchCoordinator<Peer extends SwarmPeer> {
  readonly #view: SwarmView;
  readonly #options: FetchCoordinatorOptions<Peer>;
  readonly #now: () => number;
  readonly #tag: number;
  readonly #book = new ClaimBook();
  readonly #times = new PieceTimes();
  readonly #peers: ClaimPeers<Peer>;
  /** Own claims that others know of -> when they were made. */
  readonly #claimed = new Map<number, number>();
  #order: readonly number[];
  /** Pieces that were opened without peers. */
  readonly #speculative = new Set<number>();
  readonly #soleHolders = new SoleHolder();
  readonly #stalls: StallDetector;
  /** Missing pieces that somebody waits for. */
  readonly #wanted = new Set<number>();
  readonly #startUp: StartUp;
  #lookedAt = -Infinity;
  #receivedBefore = 0;
  #registrySpeed = 0;
  readonly #supply: SupplyWatch;

  constructor(view: SwarmView, options: FetchCoordinatorOptions<Peer>) {
    this.#view = view;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#tag = peerTag(options.selfId, options.infoHash);
    this.#startUp = new StartUp(this.#tag);
    this.#order = rendezvousOrder(options.geometry.pieceCount, this.#tag);
    this.#stalls = new StallDetector(this.#now());
    this.#peers = new ClaimPeers({
      ...options,
      selfTag: this.#tag,
      pieceCount: options.geometry.pieceCount,
      onReady: (link) => {
        this.#rank();
        // No longer alone: first let go of what was too much, then tell of the rest.
        this.decide();
        this.#sendOpening(link);
      },
      onMessage: (from, message) => this.#heard(from, message),
    });
    this.#supply = new SupplyWatch(view, options, this.#peers, this.#now());
  }

  /** What the registry brings now, bytes per second. */
  get registrySpeed(): number {
    return this.#options.registry?.lost === undefined ? this.#registrySpeed : 0;
  }

  /** When `early` is to be called, milliseconds after the first announce. */
  get earlyMs(): number {
    return this.#startUp.earlyMs;
  }

  /** Nobody has answered yet, and it is this node's turn to begin. */
  early(): void {
    this.#startUp.isEarly = true;
    this.decide();
  }

  /** The tracker named nobody, or has had its time. */
  settle(): void {
    this.#startUp.isSettled = true;
    this.decide();
  }

  /** The tracker named peers. @param seeders some of them have everything */
  expect(seeders = false): void {
    this.#startUp.expect(seeders, this.#now());
    this.#rank();
    this.decide();
  }

  /** Somebody waits for these pieces. */
  want(pieces: readonly number[]): void {
    for (const index of pieces) this.#wanted.add(index);
    this.decide();
  }

  joined(peer: Peer): void {
    // Who does not fetch need not be told, and is not counted on.
    if (this.#options.registry !== undefined) this.#peers.joined(peer);
  }

  /** @param isGone the peer has no other connection */
  left(peer: Peer, isGone: boolean): void {
    this.#peers.left(peer);
    this.#rank();
    if (isGone) this.#peers.note(this.#book.forget(peerTag(peer.peerId, this.#options.infoHash)));
  }

  hasPiece(peer: Peer, index: number): void {
    if (this.#view.holders(index) <= 1) {
      this.#stalls.news(this.#now());
      this.#soleHolders.begins(index, this.#now());
    }
    const tag = this.#book.isAbout(index) ? this.#peers.tagOf(peer) : undefined;
    if (tag === undefined) return;
    const took = this.#book.fulfilled(tag, index, this.#now());
    if (took === undefined) return;
    this.#times.observe(took);
    this.#supply.fetchedByOther();
  }

  /** Pieces came back from the registry without their bytes. */
  closed(pieces: readonly number[]): void {
    if (pieces.length > 0) this.#peers.tell({ kind: 'drop', pieces });
  }

  /** Whether the registry is to help peers. To be called often: where few wait, it is a question of moments. */
  watch(): void {
    const { registry } = this.#options;
    if (registry === undefined || registry.lost !== undefined) return;
    if (this.#supply.look(this.#now(), registry, this.#order)) this.decide();
  }

  /** @param seconds since the last call */
  tick(seconds: number): void {
    const { registry } = this.#options;
    const now = this.#now();
    this.#order = this.#order.filter((index) => !this.#view.has(index));
    for (const index of this.#speculative) if (this.#view.has(index)) this.#speculative.delete(index);
    if (registry === undefined) return;
    const bytes = registry.received - this.#receivedBefore;
    this.#receivedBefore = registry.received;
    this.#registrySpeed += RATE_WEIGHT * (bytes / seconds - this.#registrySpeed);
    this.#book.expire(now, this.#timeouts());
    this.#lookForWork(now);
    this.#rank();
  }

  decide(): void {
    const { registry } = this.#options;
    this.#peers.passOn(this.#now());
    if (registry === undefined || registry.lost !== undefined) return;
    this.#learn(registry);
    let decision = this.#decision(registry);
    if (decision.open.length === 0 && this.#takesOver(registry)) decision = this.#decision(registry);
    const { open, release } = decision;
    if (release.length > 0) {
      registry.release(release);
      this.#peers.tell({ kind: 'drop', pieces: release });
    }
    if (open.length === 0) return;
    const now = this.#now();
    const among = this.#peers.size > 0 || this.#startUp.expecting(now) !== 'none';
    for (const index of open) {
      if (this.#peers.size > 0) this.#claimed.set(index, now);
      else this.#speculative.add(index);
    }
    registry.fetch(open, among ? SETTLE_MS : 0);
    this.#peers.tell({ kind: 'claim', pieces: open });
  }

  #decision(registry: RegistryPieces): ShareDecision {
    const { geometry } = this.#options;
    const peers = this.#view.activePeers;
    for (const index of this.#wanted) if (this.#view.has(index)) this.#wanted.delete(index);
    return decideShares({
      selfTag: this.#tag,
      pieceLength: geometry.pieceLength,
      pieceCount: geometry.pieceCount,
      order: this.#order,
      wanted: [...this.#wanted],
      has: (index) => this.#view.has(index),
      open: registry.open,
      speculative: (index) => this.#speculative.has(index),
      held: (index) => this.#isHeld(index),
      claimers: (index) => this.#book.claimers(index),
      backingOff: (index) => registry.isBackingOff(index),
      peers,
      expecting: this.#startUp.expecting(this.#now()),
      // Peers that came first are as good as the tracker's word.
      settled: this.#startUp.isSettled || peers > 0,
      early: this.#startUp.isEarly,
      fetcher: this.#peers.isFetcher,
      ...this.#supply.facts,
      begun: (index) => this.#view.begun(index),
      pieceMs: this.#times.pace,
    });
  }

  #isHeld(index: number): boolean {
    if (this.#supply.isFetchedAnyway(index)) return false;
    return this.#soleHolders.isHeld(index, this.#view.holders(index), this.#now(), this.#times.lateMs);
  }

  /** What has come of own claims. */
  #learn(registry: RegistryPieces): void {
    for (const [index, since] of this.#claimed) {
      if (registry.open.has(index)) continue;
      this.#claimed.delete(index);
      if (!this.#view.has(index)) continue;
      const now = this.#now();
      this.#times.observe(now - since);
      this.#book.kept(since);
      this.#stalls.news(now);
    }
  }

  /** At the end, with nothing left to do but what others are slow with. */
  #takesOver(registry: RegistryPieces): boolean {
    const now = this.#now();
    const idle = this.#peers.isFetcher && registry.open.size === 0 && this.#times.mean !== undefined;
    if (!idle || now - this.#lookedAt < TAKE_OVER_MS) return false;
    this.#lookedAt = now;
    const timeouts = this.#timeouts();
    const soon = Math.max(this.#times.lateMs, END_LATE_MEANS * this.#times.mean);
    return this.#book.expire(now, { ...timeouts, overtaken: soon });
  }

  #timeouts(): ClaimTimeouts {
    const { lateMs, mean } = this.#times;
    const abandoned = Math.max(ABANDONED_MS, mean === undefined ? lateMs : 4 * lateMs);
    // Before the end nobody waits for one piece: there are others to fetch.
    return { overtaken: abandoned, abandoned, doubted: lateMs };
  }

  /** Once in a while, for it costs a look at all pieces. */
  #lookForWork(now: number): void {
    const isWork = (index: number): boolean =>
      !this.#view.has(index) && this.#view.holders(index) === 0 && this.#book.claimers(index).length === 0;
    if (this.#peers.isFetcher || !this.#order.some(isWork)) this.#stalls.news(now);
    this.#stalls.look(now, this.#times.mean === undefined ? undefined : this.#times.lateMs);
  }

  /** What this node's place in the swarm depends on has changed. */
  #rank(): void {
    this.#peers.rank(this.#order.length, this.#view.swarmSize, this.#stalls.count);
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
    this.#peers.note(news);
    this.decide();
  }

  /** This node's own claims come back to it. */
  #ofOthers({ kind, claims }: RelayedMessage): RelayedMessage {
    return { kind, claims: claims.filter(({ tag }) => tag !== this.#tag) };
  }
}
