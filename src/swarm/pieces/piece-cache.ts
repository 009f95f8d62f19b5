import { givePieceBuffer } from './piece-buffers.ts';

/** Peers that take slowly keep pieces in memory: over so many times what the cache is for, nothing is given from it. */
const MOST_IN_USE = 3;

/** A verified piece in memory, for as long as somebody uses it. */
export class HeldPiece {
  readonly bytes: Uint8Array;
  readonly #onFree: () => void;
  #uses = 0;

  constructor(bytes: Uint8Array, onFree: () => void) {
    this.bytes = bytes;
    this.#onFree = onFree;
  }

  use(): this {
    this.#uses++;
    return this;
  }

  /** Its memory goes to another piece after the last use. */
  readonly release = (): void => {
    if (--this.#uses > 0) return;
    givePieceBuffer(this.bytes);
    this.#onFree();
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
  /** Also what has been dropped and is in use. */
  #alive = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @param bytes belong to the cache from now on */
  add(torrent: string, index: number, bytes: Uint8Array): HeldPiece {
    const key = keyOf(torrent, index);
    const former = this.#pieces.get(key);
    if (former !== undefined) this.#drop(key, former);
    const piece = new HeldPiece(bytes, () => (this.#alive -= bytes.length)).use();
    this.#pieces.set(key, piece);
    this.#bytes += bytes.length;
    this.#alive += bytes.length;
    for (const [old, oldest] of this.#pieces) {
      if (this.#bytes <= this.#maxBytes || oldest === piece) break;
      this.#drop(old, oldest);
    }
    return piece;
  }

  find(torrent: string, index: number): HeldPiece | undefined {
    if (this.#alive > MOST_IN_USE * this.#maxBytes) return undefined;
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
