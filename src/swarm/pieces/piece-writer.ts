import { createHash } from 'node:crypto';
import { PIECE_HASH_LENGTH, pieceSpan } from '../../metainfo/geometry.ts';
import type { Metainfo } from '../../metainfo/metainfo.ts';
import type { HeldPiece, PieceCache } from './piece-cache.ts';
import type { PieceStorage } from '../swarm-client.ts';

/** The registry may be faster than the disk: at this bound it waits. Bytes. */
const MAX_UNWRITTEN_BYTES = 8 * 1024 * 1024;

export interface PieceWriterOptions {
  readonly metainfo: Metainfo;
  readonly storage: PieceStorage;
  readonly cache: PieceCache;
  /** This piece is in the storage. */
  readonly onWritten: (index: number) => void;
  /** Everything that was kept so far is in the storage. */
  readonly onIdle: () => void;
  readonly onError: (error: unknown) => void;
}

/** The way of a whole piece: its hash is checked, it is held for those who ask for it at once, and written. */
export class PieceWriter {
  readonly #options: PieceWriterOptions;
  #unwritten = 0;
  /** What the storage does not have yet, whatever the cache thinks of it. */
  readonly #writing = new Map<number, HeldPiece>();
  #onWritten = Promise.withResolvers<void>();

  constructor(options: PieceWriterOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#unwritten === 0;
  }

  /** Bytes that were kept and are not in the storage yet. */
  get unwritten(): number {
    return this.#unwritten;
  }

  verifies(index: number, bytes: Uint8Array): boolean {
    const at = index * PIECE_HASH_LENGTH;
    const expected = this.#options.metainfo.pieces.subarray(at, at + PIECE_HASH_LENGTH);
    return createHash('sha1').update(bytes).digest().equals(expected);
  }

  /** @param bytes have verified, and belong to the keeper from now on */
  keep(index: number, bytes: Uint8Array): void {
    const { metainfo, storage, cache, onError, onIdle, onWritten } = this.#options;
    if (storage.write === undefined) return onError(new Error('read-only'));
    const held = cache.add(metainfo.infoHash, index, bytes).use();
    this.#writing.set(index, held);
    this.#unwritten += bytes.length;
    storage
      .write(pieceSpan(metainfo.geometry, index).start, bytes)
      .then(() => {
        this.#unwritten -= bytes.length;
        onWritten(index);
        if (this.#unwritten === 0) onIdle();
      }, onError)
      .finally(() => {
        this.#writing.delete(index);
        held.release();
        this.#onWritten.resolve();
        this.#onWritten = Promise.withResolvers();
      });
  }

  held(index: number): HeldPiece | undefined {
    return this.#writing.get(index) ?? this.#options.cache.find(this.#options.metainfo.infoHash, index);
  }

  /** Resolves when the disk has caught up. */
  async ready(signal: AbortSignal): Promise<void> {
    while (this.#unwritten >= MAX_UNWRITTEN_BYTES && !signal.aborted) await this.#onWritten.promise;
  }

  close(): void {
    this.#options.cache.forget(this.#options.metainfo.infoHash);
  }
}
