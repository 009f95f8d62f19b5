import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { QuayctlError } from '../../src/base/errors.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { digestOf, type Digest } from '../../src/image/digest.ts';
import type { BlobReader, BlobStore, PartialBlob, Span } from '../../src/store/blob-store.ts';
import { SpanSet } from '../../src/store/spans.ts';

interface Kept {
  readonly bytes: Buffer;
  readonly spans: SpanSet;
}

/** The store's twin for tests of rooms above it: one process, nothing on disk, the same promises. */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs = new Map<Digest, Buffer>();
  readonly #partials = new Map<string, Kept>();
  readonly #held = new Set<Digest>();

  async stat(digest: Digest): Promise<number | undefined> {
    return this.#blobs.get(digest)?.length;
  }

  async open(digest: Digest): Promise<BlobReader> {
    const bytes = this.#blob(digest);
    return {
      size: bytes.length,
      read: async (offset, length) => cut(bytes, offset, length),
      close: async () => {},
    };
  }

  async stream(digest: Digest): Promise<Readable> {
    return Readable.from(this.#blob(digest), { objectMode: false });
  }

  async begin(descriptor: Descriptor, signal: AbortSignal): Promise<PartialBlob | 'present'> {
    const { digest, size } = descriptor;
    for (;;) {
      signal.throwIfAborted();
      const present = this.#blobs.get(digest);
      if (present?.length === size) return 'present';
      if (present !== undefined) {
        throw new QuayctlError('verification', `${digest}: ${present.length} bytes, not ${size}`);
      }
      if (!this.#held.has(digest)) break;
      await sleep(5);
    }
    this.#held.add(digest);
    const key = `${digest} ${size}`;
    const kept = this.#partials.get(key) ?? { bytes: Buffer.alloc(size), spans: new SpanSet() };
    this.#partials.set(key, kept);
    return new MemoryPartial(descriptor, kept, {
      commit: () => {
        this.#partials.delete(key);
        this.#blobs.set(digest, kept.bytes);
        this.#held.delete(digest);
      },
      close: () => this.#held.delete(digest),
    });
  }

  #blob(digest: Digest): Buffer {
    const bytes = this.#blobs.get(digest);
    if (bytes === undefined) throw new QuayctlError('not-found', `${digest} is not in the store`);
    return bytes;
  }
}

interface Ends {
  readonly commit: () => void;
  readonly close: () => void;
}

class MemoryPartial implements PartialBlob {
  readonly descriptor: Descriptor;
  readonly #kept: Kept;
  readonly #ends: Ends;
  #state: 'open' | 'committed' | 'closed' = 'open';

  constructor(descriptor: Descriptor, kept: Kept, ends: Ends) {
    this.descriptor = descriptor;
    this.#kept = kept;
    this.#ends = ends;
  }

  get size(): number {
    return this.descriptor.size;
  }

  get spans(): readonly Span[] {
    return [...this.#kept.spans.spans];
  }

  get written(): number {
    return this.#kept.spans.total;
  }

  has(start: number, end: number): boolean {
    return this.#kept.spans.has(start, end);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (!this.has(offset, offset + length)) throw new QuayctlError('store', 'not written there');
    return cut(this.#kept.bytes, offset, length);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#mustBeOpen();
    if (offset < 0 || offset + bytes.length > this.size) throw new QuayctlError('internal', 'past the end');
    this.#kept.bytes.set(bytes, offset);
    this.#kept.spans.add(offset, offset + bytes.length);
  }

  async discard(span: Span = { start: 0, end: this.size }): Promise<void> {
    this.#mustBeOpen();
    this.#kept.spans.remove(span.start, span.end);
  }

  async commit(): Promise<void> {
    this.#mustBeOpen();
    const { bytes, spans } = this.#kept;
    if (spans.total !== this.size || digestOf(bytes) !== this.descriptor.digest) {
      throw new QuayctlError('verification', `${this.descriptor.digest}: does not verify`);
    }
    this.#state = 'committed';
    this.#ends.commit();
  }

  async close(): Promise<void> {
    if (this.#state === 'open') this.#ends.close();
    this.#state = 'closed';
  }

  #mustBeOpen(): void {
    if (this.#state !== 'open') throw new QuayctlError('internal', `is ${this.#state}`);
  }
}

function cut(bytes: Buffer, offset: number, length: number): Uint8Array {
  if (offset < 0 || length < 0 || offset + length > bytes.length)
    throw new QuayctlError('store', 'past the end');
  return Uint8Array.from(bytes.subarray(offset, offset + length));
}
