import { createHash, type Hash } from 'node:crypto';

/** Large enough for the disk, small enough (about a millisecond of hashing) for the event loop. */
const CHUNK_BYTES = 1024 * 1024;

/** A file that is hashed while it is still being written. */
export interface HashSource {
  /** Bytes that are there from the beginning on, without a gap. */
  readonly prefix: number;
  /** Fills the buffer from the position; short only at the end. */
  readInto(buffer: Uint8Array, position: number): Promise<number>;
}

/**
 * SHA-256 over the contiguous prefix of a growing blob, so that its digest is known as soon as its last byte is.
 * Bytes that arrive in order are hashed as they come; others are read back, soon, out of the page cache.
 */
export class PrefixHash {
  readonly #source: HashSource;
  #hash: Hash = createHash('sha256');
  #position = 0;
  /** Counts resets, so that a read that was under way then is not hashed. */
  #generation = 0;
  /** Where the read that is under way ends. */
  #readingTo = 0;
  #running: Promise<void> | undefined;
  #failure: Error | undefined;
  #stopped = false;

  constructor(source: HashSource) {
    this.#source = source;
  }

  /** So many bytes are in the hash. */
  get position(): number {
    return this.#position;
  }

  /** Takes bytes about to be written, if they are the next ones. */
  feed(offset: number, bytes: Uint8Array): void {
    if (this.#running !== undefined || offset !== this.#position) return;
    this.#hash.update(bytes);
    this.#position += bytes.length;
  }

  /** Catches up with what is written, in the background. */
  advance(): void {
    if (this.#stopped || this.#running !== undefined || this.#position >= this.#source.prefix) return;
    this.#running = this.#catchUp()
      .catch((error: Error) => {
        this.#failure = error;
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Must be called before bytes at or after `offset` that may be in the hash change. */
  reset(offset = 0): void {
    // A read that ends before it is still good: else a fast download would never let the hash catch up.
    if (offset < this.#readingTo) this.#generation++;
    if (this.#position <= offset) return;
    this.#hash = createHash('sha256');
    this.#position = 0;
  }

  /** The digest in hex, of everything. @throws what reading threw */
  async finish(size: number): Promise<string> {
    while (this.#position < size || this.#running !== undefined) {
      this.advance();
      await this.#running;
      if (this.#failure !== undefined) {
        const failure = this.#failure;
        this.#failure = undefined;
        throw failure;
      }
      if (this.#position < size && (this.#stopped || this.#source.prefix < size))
        throw new Error('hashed before it was complete');
    }
    return this.#hash.copy().digest('hex');
  }

  /** Resolves when nothing is being read, and nothing will be. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #catchUp(): Promise<void> {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    while (!this.#stopped && this.#position < this.#source.prefix) {
      const generation = this.#generation;
      const position = this.#position;
      const wanted = Math.min(CHUNK_BYTES, this.#source.prefix - position);
      this.#readingTo = position + wanted;
      const length = await this.#source.readInto(buffer.subarray(0, wanted), position);
      if (generation !== this.#generation) continue;
      if (length === 0) throw new Error('the partial blob is shorter than its record says');
      this.#hash.update(buffer.subarray(0, length));
      this.#position += length;
    }
  }
}
