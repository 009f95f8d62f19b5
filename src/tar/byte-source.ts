/** Bytes taken in the lengths that a parser wants, from chunks of any length. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** So many bytes, fewer at the end. For lengths that fit into memory. */
  async take(length: number): Promise<Uint8Array> {
    if (this.#chunk.length >= length) return this.#cut(length);
    const parts: Uint8Array[] = [];
    for await (const part of this.stream(length)) parts.push(part);
    return Buffer.concat(parts);
  }

  /** The same as chunks, without holding them. */
  async *stream(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0;) {
      if (this.#chunk.length === 0 && !(await this.#next())) return;
      const part = this.#cut(Math.min(left, this.#chunk.length));
      left -= part.length;
      yield part;
    }
  }

  /**
   * @param length Infinity for all that is left
   * @returns how many there were
   */
  async skip(length: number): Promise<number> {
    let skipped = 0;
    while (skipped < length && (this.#chunk.length > 0 || (await this.#next()))) {
      skipped += this.#cut(Math.min(length - skipped, this.#chunk.length)).length;
    }
    return skipped;
  }

  /** Lets go of what is behind it. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #next(): Promise<boolean> {
    const next = await this.#chunks.next();
    if (next.done !== true) this.#chunk = next.value;
    return next.done !== true;
  }

  #cut(length: number): Uint8Array {
    const part = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    return part;
  }
}
