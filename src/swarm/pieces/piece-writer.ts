import { EventEmitter } from 'node:events';
import { pieceSpan } from '../../metainfo/geometry.ts';
import type { Metainfo } from '../../metainfo/metainfo.ts';
import { verifyPiece } from '../../metainfo/piece-hasher.ts';
import type { PieceStorage } from '../swarm-client.ts';
import type { HeldPiece, PieceCache } from './piece-cache.ts';

/** The registry may be faster than the disk: at this bound it waits. Bytes. */
const MAX_UNWRITTEN_BYTES = 8 * 1024 * 1024;

export interface PieceWriterEvents {
  /** This piece is in the storage. */
  written: [index: number];
  /** The storage did not take a piece. */
  failed: [error: unknown];
}

/** The way of a whole piece: its hash is checked, it is held for peers that ask for it at once, and written. */
export class PieceWriter extends EventEmitter<PieceWriterEvents> {
  readonly #metainfo: Metainfo;
  readonly #storage: PieceStorage;
  readonly #cache: PieceCache;
  #unwritten = 0;
  /** Pieces that the storage does not have yet, whatever the cache has dropped. */
  readonly #writing = new Map<number, HeldPiece>();
  #onWritten = Promise.withResolvers<void>();

  constructor(metainfo: Metainfo, storage: PieceStorage, cache: PieceCache) {
    super();
    this.#metainfo = metainfo;
    this.#storage = storage;
    this.#cache = cache;
  }

  /** Bytes that were given to it and are not in the storage yet. */
  get unwritten(): number {
    return this.#unwritten;
  }

  verifies(index: number, bytes: Uint8Array): boolean {
    return verifyPiece(this.#metainfo, index, bytes);
  }

  /** @param bytes have verified, and belong to the writer from now on */
  write(index: number, bytes: Uint8Array): void {
    if (this.#storage.write === undefined) {
      this.emit('failed', new Error('the storage is read-only'));
      return;
    }
    const held = this.#cache.add(this.#metainfo.infoHash, index, bytes).use();
    this.#writing.set(index, held);
    this.#unwritten += bytes.length;
    this.#storage
      .write(pieceSpan(this.#metainfo.geometry, index).start, bytes)
      .then(
        () => {
          this.#unwritten -= bytes.length;
          this.emit('written', index);
        },
        (error: unknown) => this.emit('failed', error),
      )
      .finally(() => {
        this.#writing.delete(index);
        held.release();
        this.#onWritten.resolve();
        this.#onWritten = Promise.withResolvers();
      });
  }

  /** The piece, where it is in memory. */
  held(index: number): HeldPiece | undefined {
    return this.#writing.get(index) ?? this.#cache.find(this.#metainfo.infoHash, index);
  }

  /** Resolves when the disk has caught up. */
  async ready(signal: AbortSignal): Promise<void> {
    while (this.#unwritten >= MAX_UNWRITTEN_BYTES && !signal.aborted) await this.#onWritten.promise;
  }

  close(): void {
    this.#cache.forget(this.#metainfo.infoHash);
  }
}

/**
 * The pieces that are in the storage and verify; what the storage does not claim to have is not read. One piece is in
 * memory at a time.
 * @throws what the storage throws, and the signal's reason
 */
export async function verifyStored(
  metainfo: Metainfo,
  storage: PieceStorage,
  signal: AbortSignal,
): Promise<number[]> {
  const verified: number[] = [];
  for (let index = 0; index < metainfo.geometry.pieceCount; index++) {
    const { start, end } = pieceSpan(metainfo.geometry, index);
    if (storage.has?.(start, end) === false) continue;
    signal.throwIfAborted();
    if (verifyPiece(metainfo, index, await storage.read(start, end - start))) verified.push(index);
  }
  return verified;
}
