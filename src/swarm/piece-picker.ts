import type Wire from 'bittorrent-protocol';
import type { Torrent } from 'webtorrent';
import type { Availability } from './availability.ts';
import { hasFreeBlocks, isBegun, isWaitingForDisk, requestBlock } from './privates.ts';

/** One choice for many blocks (swarm.md: choosing after every block took 60 % of the CPU). Milliseconds. */
const COALESCE_MS = 25;
/** Blocks under way at one peer at most: 8 MiB, more than a LAN holds. */
const MAX_REQUESTS = 512;
const BLOCK = 2 ** 14;
/** What half-done pieces may hold in memory; over it, begun pieces are ended first. Bytes, pieces. */
const MAX_BEGUN_BYTES = 16 * 1024 * 1024;
const MIN_BEGUN = 4;
/** Peers may be faster than the disk: so much waits for it in memory, and no more is asked for. Bytes. */
const MAX_UNWRITTEN_BYTES = 16 * 1024 * 1024;
/** Places in a sort key: availability, then chance, then the index. */
const INDEX_PLACES = 2 ** 20;
const CHANCE_PLACES = 2 ** 12;

export interface PickerRules {
  /** The registry brings it, or it is not for this peer. */
  readonly leaves: (index: number, wire: Wire) => boolean;
  /** After every round: time for decisions about the registry. */
  readonly onRound: () => void;
}

/** Chooses which blocks are asked of which peer: begun pieces first, then the rarest (BEP 3). */
export class PiecePicker {
  readonly #torrent: Torrent;
  readonly #availability: Availability;
  readonly #rules: PickerRules;
  readonly #chance: number[];
  #order: number[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(torrent: Torrent, pieceCount: number, availability: Availability, rules: PickerRules) {
    this.#torrent = torrent;
    this.#availability = availability;
    this.#rules = rules;
    this.#chance = Array.from({ length: pieceCount }, () => Math.floor(Math.random() * CHANCE_PLACES));
  }

  /** Soon, once for all that happened meanwhile. */
  update(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#round();
    }, COALESCE_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Tops up the requests of one peer. */
  pick(wire: Wire): void {
    const torrent = this.#torrent;
    if (torrent.destroyed || !torrent.ready || wire.destroyed || wire.type === 'webSeed') return;
    if (wire.peerChoking || !this.#availability.wires.has(wire)) return;
    const limit = Math.min(2 + Math.ceil(wire.downloadSpeed() / BLOCK), MAX_REQUESTS);
    if (wire.requests.length > limit / 2) return;
    for (const index of this.#order) {
      const piece = torrent.pieces[index];
      if (piece === null || piece === undefined || !hasFreeBlocks(piece)) continue;
      if (!wire.peerPieces.get(index) || this.#rules.leaves(index, wire)) continue;
      while (wire.requests.length < limit && requestBlock(torrent, wire, index));
      if (wire.requests.length >= limit) return;
    }
  }

  #round(): void {
    if (this.#torrent.destroyed || !this.#torrent.ready) return;
    this.#rules.onRound();
    this.#order = this.#sorted();
    for (const wire of shuffled([...this.#availability.wires])) this.pick(wire);
  }

  #sorted(): number[] {
    const { pieces } = this.#torrent;
    const most = Math.max(MIN_BEGUN, MAX_BEGUN_BYTES / (pieces.find((piece) => piece !== null)?.length ?? 1));
    let unwritten = 0;
    const begun: number[] = [];
    const keys: number[] = [];
    for (let index = 0; index < pieces.length; index++) {
      const piece = pieces[index];
      if (piece === null || piece === undefined) continue;
      if (isWaitingForDisk(piece)) {
        unwritten += piece.length;
        continue;
      }
      const count = this.#availability.of(index);
      if (count === 0) continue;
      if (isBegun(piece)) begun.push(index);
      else keys.push((count * CHANCE_PLACES + (this.#chance[index] ?? 0)) * INDEX_PLACES + index);
    }
    if (unwritten > MAX_UNWRITTEN_BYTES) return [];
    if (begun.length >= most) return begun;
    const rare = Float64Array.from(keys).sort();
    return [...begun, ...Array.from(rare, (key) => key % INDEX_PLACES)];
  }
}

function shuffled<Item>(items: Item[]): Item[] {
  for (let at = items.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [items[at], items[other]] = [items[other] as Item, items[at] as Item];
  }
  return items;
}
