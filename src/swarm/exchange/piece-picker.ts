import type { Availability } from '../peers/availability.ts';
import type { Peer } from '../peers/peer.ts';
import type { Pieces } from '../pieces/pieces.ts';

/** One choice for many blocks (swarm.md: choosing after every block took 60 % of the CPU). Milliseconds. */
const COALESCE_MS = 25;
/** What half-done pieces may hold in memory; over it, begun pieces are ended first. Bytes, pieces. */
const MAX_BEGUN_BYTES = 16 * 1024 * 1024;
const MIN_BEGUN = 2;
/** At the end, what somebody has owed for so long is asked of a peer that has nothing else to do. Milliseconds. */
const OVERDUE_MS = 750;
/** Places in a sort key: availability, then about its place in the blob, then the index. */
const INDEX_PLACES = 2 ** 20;
const PLACE_PLACES = 2 ** 21;
/** How far from its place a piece may be wanted: nodes differ, and the blob still comes about in its order. */
const SPREAD_PIECES = 128;

export interface PickerOptions {
  readonly pieceCount: number;
  readonly pieceLength: number;
  readonly pieces: Pieces;
  readonly availability: Availability;
  readonly peers: () => Iterable<Peer>;
  /** The registry brings it, or it is not for this peer. */
  readonly leaves: (index: number, peer: Peer) => boolean;
  /** The disk is behind: nothing more is asked for. */
  readonly isFull: () => boolean;
  /** Before every round: time for decisions about the registry. */
  readonly onRound: () => void;
}

/** Chooses which blocks are asked of which peer: begun pieces first, then the rarest (BEP 3). */
export class PiecePicker {
  readonly #options: PickerOptions;
  /** About the index of each piece, another one at each node. */
  readonly #places: readonly number[];
  /** Pieces that somebody waits for, in the order in which they were wanted. */
  readonly #wanted = new Set<number>();
  #order: readonly number[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: PickerOptions) {
    this.#options = options;
    this.#places = Array.from({ length: options.pieceCount }, (_, index) =>
      Math.floor(index + Math.random() * SPREAD_PIECES),
    );
  }

  /** Soon, once for all that happened meanwhile. */
  update(): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#round();
    }, COALESCE_MS);
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
    const { pieces, leaves } = this.#options;
    let { room } = peer.transfer;
    if (room <= 0) return;
    const { peerPieces } = peer.wire;
    for (const index of this.#order) {
      if (!peerPieces.get(index) || !pieces.hasFree(index) || leaves(index, peer)) continue;
      room = this.#ask(peer, index, room);
      if (room <= 0) return;
    }
    if (peer.transfer.count === 0) this.#askOverdue(peer);
  }

  /** It has just come to have this piece, and may be idle. */
  pickPiece(peer: Peer, index: number): void {
    const { pieces, leaves } = this.#options;
    if (!this.#mayAsk(peer) || !pieces.hasFree(index) || leaves(index, peer)) return;
    if (pieces.begun.size >= this.#mostBegun && !pieces.begun.has(index)) return;
    this.#ask(peer, index, peer.transfer.room);
  }

  get #mostBegun(): number {
    return Math.max(MIN_BEGUN, MAX_BEGUN_BYTES / this.#options.pieceLength);
  }

  #mayAsk({ wire, stalledUntil }: Peer): boolean {
    return (
      !this.#stopped &&
      !wire.destroyed &&
      !wire.peerChoking &&
      stalledUntil === undefined &&
      !this.#options.isFull()
    );
  }

  /** @returns the room that is left */
  #ask(peer: Peer, index: number, room: number): number {
    const longest = peer.wire.longestBlock;
    let left = room;
    while (left > 0) {
      const range = this.#options.pieces.askNext(index, longest);
      if (range === undefined) break;
      peer.transfer.ask(index, range);
      left -= range.length;
    }
    return left;
  }

  /** Nobody waits for one slow peer while others have the same. */
  #askOverdue(peer: Peer): void {
    const { pieces, peers, leaves } = this.#options;
    const before = performance.now() - OVERDUE_MS;
    for (const { transfer } of peers()) {
      if (transfer === peer.transfer) continue;
      for (const asked of transfer.asked) {
        if (asked.at > before) break;
        const { index, offset, length } = asked;
        if (!peer.wire.peerPieces.get(index) || leaves(index, peer)) continue;
        if (length > peer.wire.longestBlock) continue;
        if (peer.transfer.room <= 0) return;
        if (!peer.transfer.hasAt(index, offset) && pieces.askAgain(index, asked))
          peer.transfer.ask(index, asked);
      }
    }
  }

  #round(): void {
    this.#options.onRound();
    this.#order = this.#options.isFull() ? [] : this.#sorted();
    for (const peer of shuffled([...this.#options.peers()])) this.pick(peer);
  }

  #sorted(): readonly number[] {
    const { pieces, availability, pieceCount } = this.#options;
    for (const index of this.#wanted) if (pieces.has(index)) this.#wanted.delete(index);
    // No more than may be begun anyhow: wanted pieces must not take the memory that the bound is there for.
    const wanted = [...this.#wanted].filter((index) => availability.of(index) > 0).slice(0, MIN_BEGUN);
    const begun = [...pieces.begun.keys()].filter((index) => !wanted.includes(index));
    if (begun.length >= this.#mostBegun) return [...wanted, ...begun];
    const keys: number[] = [];
    for (let index = 0; index < pieceCount; index++) {
      if (pieces.has(index) || pieces.begun.has(index) || wanted.includes(index)) continue;
      const count = availability.of(index);
      if (count > 0) keys.push((count * PLACE_PLACES + (this.#places[index] ?? 0)) * INDEX_PLACES + index);
    }
    const rare = Float64Array.from(keys).sort();
    return [...wanted, ...begun, ...Array.from(rare, (key) => key % INDEX_PLACES)];
  }
}

function shuffled<Item>(items: Item[]): Item[] {
  for (let at = items.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [items[at], items[other]] = [items[other] as Item, items[at] as Item];
  }
  return items;
}
