import type { PeerWire } from '../wire/peer-wire.ts';

/** How many connected peers have each piece; stalled peers do not count. */
export class Availability {
  #counts: Uint16Array;
  readonly #pieceCount: number;
  readonly #wires = new Set<PeerWire>();
  #stale = true;

  constructor(pieceCount: number) {
    this.#pieceCount = pieceCount;
    this.#counts = new Uint16Array(pieceCount);
  }

  get wires(): ReadonlySet<PeerWire> {
    return this.#wires;
  }

  add(wire: PeerWire): void {
    this.#wires.add(wire);
    this.#stale = true;
  }

  remove(wire: PeerWire): void {
    if (this.#wires.delete(wire)) this.#stale = true;
  }

  /** Something other than one `have` changed. */
  changed(): void {
    this.#stale = true;
  }

  have(wire: PeerWire, index: number): void {
    if (this.#stale || !this.#wires.has(wire)) return;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  of(index: number): number {
    if (this.#stale) this.#count();
    return this.#counts[index] ?? 0;
  }

  #count(): void {
    this.#stale = false;
    this.#counts.fill(0);
    for (const { peerPieces } of this.#wires) {
      for (let index = 0; index < this.#pieceCount; index++) {
        if (peerPieces.get(index)) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
      }
    }
  }
}
