import { pieceSpan, type PieceGeometry } from '../../metainfo/geometry.ts';
import { givePieceBuffer, takePieceBuffer } from '../pieces/piece-buffers.ts';

/** Puts the bytes of one range request together into pieces. */
export class PieceAssembly {
  readonly #geometry: PieceGeometry;
  /** The piece that is being put together. */
  next: number;
  #piece: Uint8Array | undefined;
  #filled = 0;

  constructor(geometry: PieceGeometry, first: number) {
    this.#geometry = geometry;
    this.next = first;
  }

  *add(chunk: Uint8Array): Generator<{ index: number; bytes: Uint8Array }> {
    let rest = chunk;
    while (rest.length > 0) {
      this.#piece ??= this.#empty();
      const part = rest.subarray(0, this.#piece.length - this.#filled);
      this.#piece.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled < this.#piece.length) return;
      const bytes = this.#piece;
      this.#piece = undefined;
      this.#filled = 0;
      yield { index: this.next++, bytes };
    }
  }

  /** Bytes of the piece that is being put together. */
  get filled(): number {
    return this.#filled;
  }

  /** @returns bytes of a piece that is not whole */
  drop(): number {
    if (this.#piece !== undefined) givePieceBuffer(this.#piece);
    this.#piece = undefined;
    return this.#filled;
  }

  #empty(): Uint8Array {
    const { start, end } = pieceSpan(this.#geometry, this.next);
    return takePieceBuffer(end - start);
  }
}
