import { pieceSpan, type PieceGeometry } from '../../metainfo/geometry.ts';
import type { Filling } from '../wire/message-reader.ts';
import { PieceProgress, type BlockRange } from './piece-progress.ts';

const NOWHERE: Filling = { target: undefined };

/** A piece that this node fetches from the registry. */
export interface OpenPiece {
  /** Its bytes have been asked for; before that it can be released at no cost. */
  readonly requested: boolean;
  /** Bytes of it that have come; undefined: not known, so what is requested is never broken off. */
  readonly received?: number;
}

/** Which pieces are here and which are on their way: from peers, block by block, or from the registry. */
export class Pieces {
  readonly #geometry: PieceGeometry;
  readonly #has: Uint8Array;
  readonly #progress = new Map<number, PieceProgress>();
  /** Pieces that are fetched from the registry; RegistrySeed adds and removes them. */
  readonly fromRegistry = new Map<number, { requested: boolean; received: number }>();
  #count = 0;

  constructor(geometry: PieceGeometry, stored: readonly number[]) {
    this.#geometry = geometry;
    this.#has = new Uint8Array(geometry.pieceCount);
    for (const index of stored) this.add(index);
  }

  /** Verified ones. */
  get count(): number {
    return this.#count;
  }

  get isComplete(): boolean {
    return this.#count === this.#geometry.pieceCount;
  }

  /** Pieces of which blocks have been asked of peers. */
  get begun(): ReadonlyMap<number, PieceProgress> {
    return this.#progress;
  }

  /** Verified. */
  has(index: number): boolean {
    return this.#has[index] === 1;
  }

  /** It has verified. */
  add(index: number): void {
    if (this.#has[index] === 1) return;
    this.#has[index] = 1;
    this.#count++;
  }

  /** BEP 3: the first piece is the highest bit of the first byte. */
  bitfield(): Uint8Array {
    const bits = new Uint8Array(Math.ceil(this.#has.length / 8));
    for (let index = 0; index < this.#has.length; index++) {
      if (this.#has[index] === 1) bits[index >> 3] = (bits[index >> 3] ?? 0) | (0x80 >> (index & 7));
    }
    return bits;
  }

  hasFree(index: number): boolean {
    return this.#progress.get(index)?.hasFree ?? !this.has(index);
  }

  /** Blocks to ask somebody for. */
  askNext(index: number, maxBytes: number): BlockRange | undefined {
    if (this.has(index)) return undefined;
    return this.#begin(index).askNext(maxBytes);
  }

  askAgain(index: number, range: BlockRange): boolean {
    return this.#progress.get(index)?.askAgain(range) ?? false;
  }

  giveUp(index: number, range: BlockRange): void {
    this.#progress.get(index)?.giveUp(range);
  }

  /** A block that was asked for begins to arrive. */
  place(index: number, range: BlockRange): Filling {
    return this.#progress.get(index)?.begin(range) ?? NOWHERE;
  }

  /** @returns the bytes of it that were missing */
  filled(index: number, range: BlockRange, filling: Filling): number {
    return this.#progress.get(index)?.filled(range, filling) ?? 0;
  }

  /** The bytes of a piece that is whole, which nobody writes into any more; it may be begun anew. */
  take(index: number): Uint8Array | undefined {
    const progress = this.#progress.get(index);
    if (progress?.isComplete !== true) return undefined;
    progress.seal();
    this.#progress.delete(index);
    return progress.bytes;
  }

  /** What has arrived of it is of no use. @returns how many bytes that were */
  drop(index: number): number {
    const bytes = this.#progress.get(index)?.drop() ?? 0;
    this.#progress.delete(index);
    return bytes;
  }

  #begin(index: number): PieceProgress {
    let progress = this.#progress.get(index);
    if (progress === undefined) {
      const { start, end } = pieceSpan(this.#geometry, index);
      this.#progress.set(index, (progress = new PieceProgress(index, end - start)));
    }
    return progress;
  }
}
