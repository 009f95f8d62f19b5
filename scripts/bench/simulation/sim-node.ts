import type { Random } from '../../../test/helpers/fuzz.ts';
import type { ClaimMessage } from '../../../src/swarm/claims/claim-messages.ts';
import type { ClaimsHandlers, ClaimsLink } from '../../../src/swarm/claims/claims-extension.ts';
import { FetchCoordinator } from '../../../src/swarm/claims/fetch-coordinator.ts';
import type { SwarmView } from '../../../src/swarm/claims/swarm-view.ts';
import type { Gateway } from './gateway.ts';
import { PieceSet } from './piece-set.ts';
import { SimDownloads } from './sim-downloads.ts';
import { SimRegistry } from './sim-registry.ts';
import type { SimAnswer, SimTracker } from './sim-tracker.ts';
import { Uplink, type Parcel } from './uplink.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** On the LAN, with what the programs need to react: a message, a new connection, its extended handshake. */
const MESSAGE_MS = 2;
const CONNECT_MS = 15;
const HANDSHAKE_MS = 5;
/** Verified, written, told. */
const HAVE_MS = 8;
/** As in the real swarm: rounds of choice, ticks, announces (Announcer), connections. */
const ROUND_MS = 25;
const TICK_MS = 500;
const WATCH_MS = 50;
const SETTLE_MS = 500;
const AGAIN_FIRST_MS = 1500;
const AGAIN_GROWTH = 1.7;
const AGAIN_MS = 30_000;
const ENOUGH_PEERS = 8;
const MAX_CONNECTIONS = 200;
/** Of a slow node's link, what other traffic leaves at least. */
const LEAST_PART = 0.1;

/** What all nodes of a simulation share. */
export interface World {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly gateway: Gateway;
  readonly tracker: SimTracker<SimNode>;
  readonly pieceCount: number;
  readonly pieceBytes: (index: number) => number;
  readonly chunkBytes: number;
  /** From a request to the registry to its first byte, milliseconds. */
  readonly delayMs: number;
  /** Of claim messages, that do not arrive. */
  readonly lostClaims: number;
  readonly fetchers: number | undefined;
  readonly turns: number;
  readonly onDone: (node: SimNode) => void;
}

export interface NodeOptions {
  readonly id: string;
  /** Bytes per millisecond. */
  readonly up: number;
  readonly down: number;
  /** It neither fetches nor downloads. */
  readonly idle?: boolean;
  /** It has everything. */
  readonly seed?: boolean;
}

/** A node's view of one of its peers. */
export class Remote {
  readonly node: SimNode;
  /** Chunks that it owes. */
  asked = 0;
  /** How long it takes for one, a running mean. */
  chunkMs = 0;
  handlers: ClaimsHandlers | undefined = undefined;
  /** The other's view of this node. */
  back: Remote | undefined = undefined;
  gone = false;

  constructor(node: SimNode) {
    this.node = node;
  }

  get peerId(): string {
    return this.node.id;
  }

  /** Pieces that it is known to have. */
  get count(): number {
    return this.node.announced.count;
  }
}

/** One machine: the real FetchCoordinator, and a model of everything around it. */
export class SimNode {
  readonly world: World;
  readonly id: string;
  readonly up: number;
  readonly down: number;
  readonly idle: boolean;
  readonly has: PieceSet;
  /** What its peers know that it has. */
  readonly announced: PieceSet;
  /** How many peers have each piece. */
  readonly available: Uint16Array;
  /** When the first of them had it. */
  readonly seenAt: Float64Array;
  readonly remotes = new Map<SimNode, Remote>();
  readonly registry: SimRegistry;
  readonly shares: FetchCoordinator<Remote>;
  readonly #downloads: SimDownloads;
  readonly #uplink: Uplink;
  /** The same as `remotes`, for the loops that run most often. */
  #links: Remote[] = [];
  #incomplete: number | undefined;
  #downFreeAt = 0;
  #isRoundSet = false;
  #again = AGAIN_FIRST_MS;
  gone = false;
  complete: boolean;

  constructor(world: World, { id, up, down, idle = false, seed = false }: NodeOptions) {
    this.world = world;
    this.idle = idle;
    this.id = id;
    this.up = up;
    this.down = down;
    const { pieceCount, clock } = world;
    this.has = new PieceSet(pieceCount, seed);
    this.announced = new PieceSet(pieceCount, seed);
    this.complete = seed;
    this.seenAt = new Float64Array(pieceCount);
    this.available = new Uint16Array(pieceCount);
    this.registry = new SimRegistry({
      ...world,
      most: () => (this.#downloads.isBusy ? this.down / 2 : this.down) / Math.max(1, this.registry.flows),
      onPiece: (index) => this.verified(index),
    });
    this.#uplink = new Uplink(clock, up);
    this.#downloads = new SimDownloads(this, clock);
    this.shares = new FetchCoordinator<Remote>(this.#view(), {
      selfId: id,
      infoHash: 'simulated',
      geometry: { pieceCount, pieceLength: world.pieceBytes(0), length: pieceCount * world.pieceBytes(0) },
      connect: (remote, handlers) => this.#link(remote, handlers),
      registry: this.registry,
      now: () => clock.now,
      ...(world.fetchers === undefined ? {} : { fetchers: world.fetchers }),
    });
  }

  /** What the real node's TorrentState tells. */
  #view(): SwarmView {
    const [downloads, links, incomplete] = [
      (): SimDownloads => this.#downloads,
      (): number => this.#links.length,
      (): number | undefined => this.#incomplete,
    ];
    return {
      has: (index) => this.has.has(index),
      holders: (index) => this.available[index] ?? 0,
      begun: (index) => downloads().begun(index),
      get fromPeers() {
        return downloads().bytes;
      },
      get activePeers() {
        return links();
      },
      get swarmSize() {
        return incomplete();
      },
    };
  }

  start(): void {
    const { clock } = this.world;
    this.#announce();
    if (this.complete) return;
    clock.after(this.shares.earlyMs, () => !this.gone && this.shares.early());
    clock.after(SETTLE_MS, () => !this.gone && this.shares.settle());
    clock.after(this.world.random.below(TICK_MS), () => this.#tick());
    clock.after(WATCH_MS, () => this.#watch());
  }

  #watch(): void {
    if (this.gone || this.complete) return;
    this.shares.watch();
    this.world.clock.after(WATCH_MS, () => this.#watch());
  }

  /** The process ends; `silent`: its machine, so that nobody is told for a while. */
  die(noticedAfterMs: number): void {
    this.gone = true;
    this.registry.close();
    this.world.tracker.leave(this);
    this.world.clock.after(noticedAfterMs, () => {
      for (const other of this.remotes.keys()) other.#disconnected(this);
    });
  }

  leavesToRegistry(index: number): boolean {
    return this.registry.open.size > 0 && this.registry.open.has(index);
  }

  /** Bytes go out when their turn comes, unless they are taken back before; and in over the other's link. */
  send(to: SimNode, bytes: number, onArrived: () => void): Parcel {
    const { clock } = this.world;
    const onSent = (): void => {
      if (this.gone) return onArrived();
      const rate = Math.max(to.down * LEAST_PART, to.down - to.registry.rate);
      to.#downFreeAt = Math.max(to.#downFreeAt + bytes / rate, clock.now + MESSAGE_MS);
      clock.after(to.#downFreeAt - clock.now, onArrived);
    };
    const parcel: Parcel = { bytes, state: 'waiting', onSent };
    clock.after(MESSAGE_MS, () => this.#uplink.send(parcel));
    return parcel;
  }

  verified(index: number): void {
    if (this.gone || this.has.has(index)) return;
    this.has.add(index);
    this.#downloads.ended(index);
    if (this.registry.open.has(index)) this.registry.release([index]);
    this.#round();
    this.world.clock.after(HAVE_MS, () => this.#tellHave(index));
    if (this.has.count < this.world.pieceCount) return;
    this.complete = true;
    this.world.onDone(this);
  }

  #tellHave(index: number): void {
    if (this.gone) return;
    this.announced.add(index);
    // Who has it need not be told (Download does the same).
    for (const { node, back } of this.#links)
      if (back !== undefined && !node.has.has(index)) node.#heardHave(back, index);
  }

  #heardHave(remote: Remote, index: number): void {
    if (remote.gone || this.gone || this.complete) return;
    const holders = (this.available[index] ?? 0) + 1;
    this.available[index] = holders;
    if (holders === 1) this.seenAt[index] = this.world.clock.now;
    this.shares.hasPiece(remote, index);
    if (this.#downloads.wants(index)) this.#downloads.pick(remote);
    this.#round();
  }

  #round(): void {
    if (this.#isRoundSet || this.complete || this.idle) return;
    this.#isRoundSet = true;
    this.world.clock.after(ROUND_MS, () => {
      this.#isRoundSet = false;
      if (this.gone || this.complete) return;
      this.shares.decide();
      if (this.#downloads.hasWork) for (const remote of this.#links) this.#downloads.pick(remote);
    });
  }

  #tick(): void {
    if (this.gone || this.complete) return;
    this.shares.tick(TICK_MS / 1000);
    for (const remote of this.#links) this.#downloads.pick(remote);
    this.shares.decide();
    this.world.clock.after(TICK_MS, () => this.#tick());
  }

  #announce(): void {
    if (this.gone) return;
    const { tracker, clock } = this.world;
    tracker.announce(this, (answer) => {
      if (this.gone) return;
      this.#answered(answer);
      const few = !this.complete && this.remotes.size < ENOUGH_PEERS;
      if (few) this.#again *= AGAIN_GROWTH;
      clock.after(few ? this.#again / AGAIN_GROWTH : AGAIN_MS, () => this.#announce());
    });
  }

  #answered({ peers, complete, incomplete }: SimAnswer<SimNode>): void {
    const isFirst = this.#incomplete === undefined;
    this.#incomplete = incomplete;
    for (const peer of peers) {
      this.world.clock.after(CONNECT_MS + this.world.random.below(CONNECT_MS), () => this.#connect(peer));
    }
    if (!isFirst) return;
    if (peers.length > 0) this.shares.expect(complete > 0);
    else this.shares.settle();
  }

  #connect(other: SimNode): void {
    if (this.gone || other.gone || this.remotes.has(other)) return;
    if (this.remotes.size >= MAX_CONNECTIONS || other.remotes.size >= MAX_CONNECTIONS) return;
    const [here, there] = [this.#connected(other), other.#connected(this)];
    here.back = there;
    there.back = here;
    this.world.clock.after(HANDSHAKE_MS, () => {
      if (!here.gone) here.handlers?.onReady();
      if (!there.gone) there.handlers?.onReady();
    });
  }

  #connected(other: SimNode): Remote {
    const remote = new Remote(other);
    this.remotes.set(other, remote);
    this.#links.push(remote);
    for (let index = 0; index < this.world.pieceCount; index++) {
      if (other.announced.has(index)) this.available[index] = (this.available[index] ?? 0) + 1;
    }
    this.shares.joined(remote);
    this.#downloads.pick(remote);
    this.#round();
    return remote;
  }

  #disconnected(other: SimNode): void {
    const remote = this.remotes.get(other);
    if (remote === undefined) return;
    remote.gone = true;
    this.remotes.delete(other);
    this.#links = this.#links.filter((link) => link !== remote);
    for (let index = 0; index < this.world.pieceCount; index++) {
      if (other.announced.has(index)) this.available[index] = Math.max(0, (this.available[index] ?? 0) - 1);
    }
    this.#downloads.lost(remote);
    this.shares.left(remote, true);
    this.#round();
  }

  #link(remote: Remote, handlers: ClaimsHandlers): ClaimsLink {
    remote.handlers = handlers;
    const { clock, random, lostClaims } = this.world;
    return {
      send: (message: ClaimMessage) => {
        if ('pieces' in message && message.pieces.length === 0) return;
        if (lostClaims > 0 && random.below(1000) < lostClaims * 1000) return;
        clock.after(MESSAGE_MS + random.below(MESSAGE_MS), () => {
          if (!remote.gone) remote.back?.handlers?.onMessage(message);
        });
      },
    };
  }
}
