import type { VirtualClock } from './virtual-clock.ts';
import { PieceSet } from './piece-set.ts';
import type { Remote, SimNode } from './sim-node.ts';
import type { Parcel } from './uplink.ts';

/** Chunks under way at one peer: more than a LAN holds; of one that is slow or not known yet: one. */
const DEPTH = 4;
const SLOW_CHUNK_MS = 250;
const FULL_MS = 1000;
/** A chunk that a peer owes for so long may be asked of another. */
const OVERDUE_MS = 1500;
const CHANCES = 4096;
/** So soon as many more may ask for a piece as may at once. */
const TURN_MS = 250;
/** Weight of the newest chunk in a peer's mean. */
const NEWEST = 0.3;

interface Chunk {
  readonly bytes: number;
  state: 'missing' | 'asked' | 'here';
  askedAt: number;
  from: Remote | undefined;
  parcel: Parcel | undefined;
}

/** What one node takes from its peers, chunk by chunk: begun pieces first, then the rarest (BEP 3). */
export class SimDownloads {
  readonly #node: SimNode;
  readonly #clock: VirtualClock;
  /** Missing pieces of which some chunk has not been asked for. */
  readonly #wanted: PieceSet;
  readonly #begun = new Map<number, Chunk[]>();
  readonly #chance: number[];
  /** Chunks that fill this node's own link for a second, under way at once. */
  readonly #most: number;
  #arriving = 0;
  /** Nothing is owed for too long before this moment. */
  #nextOverdue = 0;
  bytes = 0;

  constructor(node: SimNode, clock: VirtualClock) {
    this.#node = node;
    this.#clock = clock;
    const { pieceCount } = node.world;
    this.#most = Math.max(DEPTH, (node.down * FULL_MS) / node.world.chunkBytes);
    this.#wanted = new PieceSet(pieceCount, !node.idle && !node.complete);
    this.#chance = Array.from({ length: pieceCount }, () => node.world.random.below(CHANCES));
  }

  get isBusy(): boolean {
    return this.#begun.size > 0;
  }

  /** Somebody has a piece that nobody has been asked for. */
  get hasWork(): boolean {
    let found = false;
    this.#wanted.forEachCommon(this.#wanted, (index) => (found ||= (this.#node.available[index] ?? 0) > 0));
    return found;
  }

  wants(index: number): boolean {
    return this.#wanted.has(index);
  }

  /** Of it something has been asked for. */
  begun(index: number): boolean {
    return this.#begun.has(index);
  }

  /** Is here: from wherever. */
  ended(index: number): void {
    this.#wanted.delete(index);
    for (const chunk of this.#begun.get(index) ?? []) if (chunk.state === 'asked') this.#takeBack(chunk);
    this.#begun.delete(index);
  }

  /** The peer is gone: what it owed is to be asked of others. */
  lost(remote: Remote): void {
    for (const [index, chunks] of this.#begun) {
      for (const chunk of chunks) {
        if (chunk.state !== 'asked' || chunk.from !== remote) continue;
        this.#takeBack(chunk);
        this.#wanted.add(index);
      }
    }
  }

  /** Asks the peer for as much as it may owe. */
  pick(remote: Remote): void {
    const depth = remote.chunkMs === 0 || remote.chunkMs > SLOW_CHUNK_MS ? 1 : DEPTH;
    while (remote.asked < depth) {
      const isFull = this.#arriving >= this.#most;
      const index = (isFull ? undefined : this.#best(remote)) ?? this.#overdue(remote);
      if (index === undefined) return;
      this.#ask(remote, index);
    }
  }

  #best(remote: Remote): number | undefined {
    let best: number | undefined;
    let least = Infinity;
    this.#wanted.forEachCommon(remote.node.announced, (index) => {
      const key = this.#begun.has(index)
        ? -1
        : (this.#node.available[index] ?? 0) * CHANCES + (this.#chance[index] ?? 0);
      if (key >= least || this.#node.leavesToRegistry(index) || !this.#isTurn(index)) return;
      least = key;
      best = index;
    });
    return best;
  }

  /** With `turns`: few ask whoever has a piece first, and the others those few, so that not all wait for one link. */
  #isTurn(index: number): boolean {
    const { turns } = this.#node.world;
    if (turns === 0 || this.#begun.has(index)) return true;
    const holders = this.#node.available[index] ?? 0;
    const seekers = this.#node.remotes.size - holders + 1;
    const age = this.#clock.now - (this.#node.seenAt[index] ?? 0);
    return (this.#chance[index] ?? 0) / CHANCES < (holders * turns * (1 + age / TURN_MS)) / seekers;
  }

  /** Nothing else to do: what another peer owes for too long. */
  #overdue(remote: Remote): number | undefined {
    const { now } = this.#clock;
    if (now < this.#nextOverdue) return undefined;
    let oldest = now;
    for (const [index, chunks] of this.#begun) {
      const isUseful = remote.node.announced.has(index) && !this.#node.leavesToRegistry(index);
      for (const chunk of chunks) {
        if (chunk.state === 'asked') oldest = Math.min(oldest, chunk.askedAt);
        const isOverdue = chunk.state === 'asked' && now - chunk.askedAt > OVERDUE_MS;
        if (!isUseful || !isOverdue || chunk.from === remote || chunk.from === undefined) continue;
        this.#takeBack(chunk);
        return index;
      }
    }
    this.#nextOverdue = oldest + OVERDUE_MS;
    return undefined;
  }

  #ask(remote: Remote, index: number): void {
    let chunks = this.#begun.get(index);
    if (chunks === undefined) this.#begun.set(index, (chunks = this.#cut(index)));
    const chunk = chunks.find(({ state }) => state === 'missing');
    if (chunk === undefined) {
      this.#wanted.delete(index);
      return;
    }
    chunk.state = 'asked';
    chunk.askedAt = this.#clock.now;
    chunk.from = remote;
    remote.asked++;
    if (chunks.every(({ state }) => state !== 'missing')) this.#wanted.delete(index);
    const { now: askedAt } = this.#clock;
    this.#arriving++;
    chunk.parcel = remote.node.send(this.#node, chunk.bytes, () => {
      this.#arriving--;
      this.#arrived(remote, index, chunk, askedAt);
    });
  }

  #arrived(remote: Remote, index: number, chunk: Chunk, askedAt: number): void {
    if (this.#node.gone || remote.gone || remote.node.gone) return;
    if (chunk.state !== 'here' && this.#begun.get(index)?.includes(chunk) === true) {
      if (chunk.state === 'asked') this.#takeBack(chunk);
      chunk.state = 'here';
      this.bytes += chunk.bytes;
      const ms = this.#clock.now - askedAt;
      remote.chunkMs += (remote.chunkMs === 0 ? 1 : NEWEST) * (ms - remote.chunkMs);
      const chunks = this.#begun.get(index) ?? [];
      if (chunks.every(({ state }) => state !== 'missing')) this.#wanted.delete(index);
      if (chunks.every(({ state }) => state === 'here')) this.#node.verified(index);
    }
    this.pick(remote);
  }

  #cut(index: number): Chunk[] {
    const { chunkBytes, pieceBytes } = this.#node.world;
    const chunks: Chunk[] = [];
    for (let left = pieceBytes(index); left > 0; left -= chunkBytes) {
      chunks.push({
        bytes: Math.min(left, chunkBytes),
        state: 'missing',
        askedAt: 0,
        from: undefined,
        parcel: undefined,
      });
    }
    return chunks;
  }

  /** What has not been sent yet, never is (BEP 3, cancel). */
  #takeBack(chunk: Chunk): void {
    if (chunk.from !== undefined) chunk.from.asked--;
    if (chunk.parcel?.state === 'waiting') {
      chunk.parcel.state = 'cancelled';
      this.#arriving--;
    }
    chunk.state = 'missing';
  }
}
