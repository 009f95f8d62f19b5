import { pieceSpan, type PieceGeometry } from '../metainfo/geometry.ts';

export type Source = 'peers' | 'registry';

/** Blocks of the wire protocol, bytes (BEP 3). */
const BLOCK = 2 ** 14;

/** Who brought which block: credited when its piece has verified, wasted otherwise. */
export class PieceLedger {
  readonly #geometry: PieceGeometry;
  /** Piece in progress -> the source of each of its blocks. */
  readonly #blocks = new Map<number, (Source | undefined)[]>();
  readonly #verified = new Set<number>();
  fromPeers = 0;
  fromRegistry = 0;
  fromStorage = 0;
  wasted = 0;

  constructor(geometry: PieceGeometry) {
    this.#geometry = geometry;
  }

  /** Verified pieces. */
  get count(): number {
    return this.#verified.size;
  }

  /** Bytes of verified pieces. */
  get bytes(): number {
    return this.fromPeers + this.fromRegistry + this.fromStorage;
  }

  has(index: number): boolean {
    return this.#verified.has(index);
  }

  /** Was in the storage at the start, and has verified. */
  stored(index: number): void {
    if (this.#verified.has(index)) return;
    this.#verified.add(index);
    this.fromStorage += this.#length(index);
  }

  /** Bytes of a piece arrived that had been asked for. */
  received(index: number, offset: number, length: number, source: Source): void {
    if (this.#verified.has(index)) {
      this.wasted += length;
      return;
    }
    const blocks = this.#of(index);
    for (let at = offset; at < offset + length; at += BLOCK) {
      const block = Math.floor(at / BLOCK);
      if (blocks[block] === undefined) blocks[block] = source;
      else this.wasted += Math.min(BLOCK, offset + length - at);
    }
  }

  verified(index: number): void {
    if (this.#verified.has(index)) return;
    this.#verified.add(index);
    const length = this.#length(index);
    const registry = this.#sum(index, 'registry');
    this.#blocks.delete(index);
    this.fromRegistry += registry;
    this.fromPeers += length - registry;
  }

  /** Its bytes did not verify and are thrown away. */
  failed(index: number): void {
    this.wasted += this.#sum(index, 'registry') + this.#sum(index, 'peers');
    this.#blocks.delete(index);
  }

  #of(index: number): (Source | undefined)[] {
    let blocks = this.#blocks.get(index);
    if (blocks === undefined) this.#blocks.set(index, (blocks = []));
    return blocks;
  }

  #sum(index: number, source: Source): number {
    const length = this.#length(index);
    return this.#of(index).reduce(
      (sum, who, block) => (who === source ? sum + Math.min(BLOCK, length - block * BLOCK) : sum),
      0,
    );
  }

  #length(index: number): number {
    const { start, end } = pieceSpan(this.#geometry, index);
    return end - start;
  }
}
