import { givePieceBuffer } from './piece-buffers.ts';

/** Peers that take slowly keep pieces in memory. Above this multiple of the cache's size, no more is lent. */
const MOST_IN_USE = 3;
/** The largest piece that is kept, as a part of the cache's size. */
const LARGEST_SHARE = 1 / 4;

/** Verified bytes in memory, for as long as somebody uses them. */
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

  /** Its memory is used for another piece after the last release. */
  readonly release = (): void => {
    if (--this.#uses > 0) return;
    givePieceBuffer(this.bytes);
    this.#onFree();
  };
}

/**
 * The newest pieces of all torrents of this process: peers ask for them in the moment in which they are announced, and
 * get them without a look at the disk.
 */
export class PieceCache {
  readonly #maxBytes: number;
  /** Oldest use first. */
  readonly #pieces = new Map<string, HeldPiece>();
  #bytes = 0;
  /** All that is lent, and what has been dropped from the cache and is still in use. */
  #alive = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** So much is in use that nothing but the least should be kept in memory. */
  get isStrained(): boolean {
    return this.#alive > MOST_IN_USE * this.#maxBytes;
  }

  /**
   * A piece that is large beside the cache is counted and not kept: reading it from the disk costs little of its time.
   * @param bytes belong to the cache from now on
   */
  add(torrent: string, index: number, bytes: Uint8Array): HeldPiece {
    if (bytes.length > this.#maxBytes * LARGEST_SHARE) return this.#count(bytes);
    const key = keyOf(torrent, index);
    const former = this.#pieces.get(key);
    if (former !== undefined) this.#drop(key, former);
    const piece = this.#count(bytes).use();
    this.#pieces.set(key, piece);
    this.#bytes += bytes.length;
    for (const [old, oldest] of this.#pieces) {
      if (this.#bytes <= this.#maxBytes || oldest === piece) break;
      this.#drop(old, oldest);
    }
    return piece;
  }

  /** Counts bytes that are not to be found in the cache. In use once: they are to be released. */
  lend(bytes: Uint8Array): HeldPiece {
    return this.#count(bytes).use();
  }

  find(torrent: string, index: number): HeldPiece | undefined {
    if (this.isStrained) return undefined;
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

  #count(bytes: Uint8Array): HeldPiece {
    this.#alive += bytes.length;
    return new HeldPiece(bytes, () => (this.#alive -= bytes.length));
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
