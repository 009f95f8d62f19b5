import type { Peer } from '../peers/peer.ts';
import type { TorrentState } from '../peers/torrent-state.ts';

/** Pieces are ordered anew at most this often: doing so after every block took 60 % of the CPU. Milliseconds. */
const COALESCE_MS = 25;
/**
 * Pieces that are begun, and pieces that the disk has not taken yet, lie in memory. At this bound no other piece is
 * begun. Bytes; at least so many pieces, so that the network does not wait for the disk.
 */
const MAX_MEMORY_BYTES = 16 * 1024 * 1024;
const MIN_PIECES_IN_MEMORY = 2;
/** How many of the pieces that a reader waits for may be begun out of turn. */
const MAX_WANTED_AT_ONCE = 2;
/** A sort key has three digits: availability, order, index. Above the number of pieces that a torrent can have. */
const INDEX_RADIX = 2 ** 20;
const ORDER_RADIX = 2 ** 21;
/** How many pieces before its turn a piece may be asked for: nodes differ, and a blob still comes about in its order. */
const SPREAD_PIECES = 128;

/** What keeps pieces from being asked for. */
export interface PickerLimits {
  /** Bytes that have verified, and that the disk has not taken yet. */
  readonly unwritten: number;
  /** The piece is not to be asked of this peer: another source brings it. */
  isForAnother(index: number, peer: Peer): boolean;
}

/** Chooses which blocks are asked of which peer: wanted pieces first, then begun ones, then the rarest (BEP 3). */
export class PiecePicker {
  readonly #state: TorrentState;
  readonly #limits: PickerLimits;
  /** About the index of each piece, another number at each node. */
  readonly #turns: readonly number[];
  readonly #maxMemory: number;
  /** Pieces were left out because of the bound. */
  #isWaiting = false;
  /** Pieces that somebody waits for, in the order in which they were wanted. */
  readonly #wanted = new Set<number>();
  /** Missing pieces that some peer has, the rarest first, as of the last round. */
  #order: readonly number[] = [];
  /** Everything before it in the order has been begun, or is here. */
  #next = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(state: TorrentState, limits: PickerLimits) {
    this.#state = state;
    this.#limits = limits;
    const { pieceLength, pieceCount } = state.metainfo.geometry;
    this.#maxMemory = Math.max(MAX_MEMORY_BYTES, MIN_PIECES_IN_MEMORY * pieceLength);
    this.#turns = Array.from({ length: pieceCount }, (_, index) =>
      Math.floor(index + Math.random() * SPREAD_PIECES),
    );
  }

  /** Orders the pieces anew and asks for them, soon, once for all that happens until then. */
  update(): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#round();
    }, COALESCE_MS);
  }

  /** The disk has taken a piece: what waits for that is asked for at once, not in the next round. */
  wake(): void {
    if (!this.#stopped && this.#isWaiting) this.#pickForAll();
  }

  /** These come before all others: somebody waits for them. */
  want(pieces: readonly number[]): void {
    for (const index of pieces) this.#wanted.add(index);
    this.update();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Tops up the requests of one peer. */
  pick(peer: Peer): void {
    if (!this.#mayAsk(peer)) return;
    let { room } = peer.transfer;
    if (room <= 0) return;
    for (const index of this.#candidates()) {
      room = this.#request(peer, index, room);
      if (room <= 0) return;
    }
    if (peer.transfer.count === 0) this.#requestOverdue(peer);
  }

  /** The peer has just got this piece, and may be idle. */
  pickPiece(peer: Peer, index: number): void {
    if (this.#mayAsk(peer) && (this.#state.pieces.begun.has(index) || this.#mayBegin()))
      this.#request(peer, index, peer.transfer.room);
  }

  /** Pieces in the order in which they are to be asked for, as many as may be begun. */
  *#candidates(): Generator<number> {
    const { pieces } = this.#state;
    const { begun } = pieces;
    // No more than may be begun anyhow: wanted pieces must not take the memory that the bound is there for.
    let wanted = 0;
    for (const index of this.#wanted) {
      if (pieces.has(index)) this.#wanted.delete(index);
      else if (this.#state.holders(index) > 0 && wanted++ < MAX_WANTED_AT_ONCE) yield index;
    }
    yield* begun.keys();
    const isPast = (index: number): boolean => pieces.has(index) || begun.has(index);
    while (this.#next < this.#order.length && isPast(this.#order[this.#next] ?? 0)) this.#next++;
    for (let at = this.#next; at < this.#order.length && this.#mayBegin(); at++) {
      const index = this.#order[at] ?? 0;
      if (!isPast(index)) yield index;
    }
  }

  #mayBegin(): boolean {
    const { pieces, metainfo } = this.#state;
    const memory = (pieces.begun.size + 1) * metainfo.geometry.pieceLength + this.#limits.unwritten;
    this.#isWaiting = memory > this.#maxMemory;
    return !this.#isWaiting;
  }

  #mayAsk({ wire, stalledUntil }: Peer): boolean {
    return !this.#stopped && !wire.destroyed && !wire.peerChoking && stalledUntil === undefined;
  }

  /** @returns the room that is left */
  #request(peer: Peer, index: number, room: number): number {
    const { pieces } = this.#state;
    if (!peer.wire.peerPieces.get(index) || !pieces.hasFree(index)) return room;
    if (this.#limits.isForAnother(index, peer)) return room;
    const longest = peer.transfer.longestRequest;
    let left = room;
    while (left > 0) {
      const range = pieces.askNext(index, longest);
      if (range === undefined) break;
      peer.transfer.request(index, range);
      left -= range.length;
    }
    return left;
  }

  /** Nobody waits for one slow peer while others have the same. */
  #requestOverdue(peer: Peer): void {
    const { pieces, peers } = this.#state;
    const now = performance.now();
    for (const { transfer } of peers.values()) {
      if (transfer === peer.transfer) continue;
      const before = now - transfer.overdueMs;
      for (const asked of transfer.requests) {
        if (asked.at > before) break;
        const { index, offset, length } = asked;
        if (!peer.wire.peerPieces.get(index) || this.#limits.isForAnother(index, peer)) continue;
        if (length > peer.wire.longestBlock) continue;
        if (peer.transfer.room <= 0) return;
        if (!peer.transfer.hasAt(index, offset) && pieces.askAgain(index, asked))
          peer.transfer.request(index, asked);
      }
    }
  }

  #round(): void {
    this.#state.emit('choosing');
    this.#order = this.#sorted();
    this.#next = 0;
    this.#pickForAll();
  }

  /** In another order each time, so that no peer always comes first. */
  #pickForAll(): void {
    for (const peer of shuffled([...this.#state.peers.values()])) this.pick(peer);
  }

  #sorted(): readonly number[] {
    const { pieces, pieceCount } = this.#state;
    const keys: number[] = [];
    for (let index = 0; index < pieceCount; index++) {
      if (pieces.has(index) || pieces.begun.has(index)) continue;
      const count = this.#state.holders(index);
      if (count > 0) keys.push((count * ORDER_RADIX + (this.#turns[index] ?? 0)) * INDEX_RADIX + index);
    }
    return Array.from(Float64Array.from(keys).sort(), (key) => key % INDEX_RADIX);
  }
}

function shuffled<Item>(items: Item[]): Item[] {
  for (let at = items.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [items[at], items[other]] = [items[other] as Item, items[at] as Item];
  }
  return items;
}
