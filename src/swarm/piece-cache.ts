import { givePieceBuffer } from './piece-buffers.ts';

/** A verified piece in memory, for as long as somebody uses it. */
export class HeldPiece {
  readonly bytes: Uint8Array;
  #uses = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  use(): this {
    this.#uses++;
    return this;
  }

  /** Its memory goes to another piece after the last use. */
  readonly release = (): void => {
    if (--this.#uses === 0) givePieceBuffer(this.bytes);
  };
}

/**
 * The newest pieces of all torrents of this process: others ask for them in the moment in which they are announced,
 * and get them without a look at the disk.
 */
export class PieceCache {
  readonly #maxBytes: number;
  /** Oldest use first. */
  readonly #pieces = new Map<string, HeldPiece>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @param bytes belong to the cache from now on */
  add(torrent: string, index: number, bytes: Uint8Array): HeldPiece {
    const piece = new HeldPiece(bytes).use();
    this.#pieces.set(keyOf(torrent, index), piece);
    this.#bytes += bytes.length;
    for (const [key, oldest] of this.#pieces) {
      if (this.#bytes <= this.#maxBytes || oldest === piece) break;
      this.#drop(key, oldest);
    }
    return piece;
  }

  find(torrent: string, index: number): HeldPiece | undefined {
    const key = keyOf(torrent, index);
    const piece = this.#pieces.get(key);
    if (piece === undefined) return undefined;
    this.#pieces.delete(key);
    this.#pieces.set(key, piece);
    return piece;
  }

  forget(torrent: string): void {
    for (const [key, piece] of this.#pieces) if (key.startsWith(`${torrent}/`)) this.#drop(key, piece);
  }

  #drop(key: string, piece: HeldPiece): void {
    this.#pieces.delete(key);
    this.#bytes -= piece.bytes.length;
    piece.release();
  }
}

function keyOf(torrent: string, index: number): string {
  return `${torrent}/${index}`;
}
