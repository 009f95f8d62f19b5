import { Readable } from 'node:stream';
import { QuayctlError } from '../../src/base/errors.ts';
import { orAborted } from '../../src/base/abort.ts';
import type { Descriptor } from '../../src/image/descriptor.ts';
import { digestOf, type Digest } from '../../src/image/digest.ts';
import type { BlobReader, BlobStore, PartialBlob, Span } from '../../src/store/blob-store.ts';
import { SpanSet } from '../../src/store/spans.ts';
import { AwaitedSpans } from '../../src/store/awaited-spans.ts';

interface Kept {
  readonly bytes: Buffer;
  readonly spans: SpanSet;
}

/** The store's twin for tests of rooms above it: one process, nothing on disk, the same promises. */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs = new Map<Digest, Buffer>();
  readonly #partials = new Map<string, Kept>();
  /** Resolve when the holder lets go. */
  readonly #held = new Map<Digest, PromiseWithResolvers<void>>();

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
      const holder = this.#held.get(digest);
      if (holder === undefined) break;
      await orAborted(holder.promise, signal);
    }
    this.#held.set(digest, Promise.withResolvers());
    const release = (): void => {
      this.#held.get(digest)?.resolve();
      this.#held.delete(digest);
    };
    const key = `${digest} ${size}`;
    const kept = this.#partials.get(key) ?? { bytes: Buffer.alloc(size), spans: new SpanSet() };
    this.#partials.set(key, kept);
    return new MemoryPartial(descriptor, kept, {
      commit: () => {
        this.#partials.delete(key);
        this.#blobs.set(digest, kept.bytes);
        release();
      },
      close: release,
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
  readonly #verified = new AwaitedSpans();
  readonly #arrived = new AwaitedSpans();
  readonly #checked = Promise.withResolvers<void>();
  changes = 0;
  #state: 'open' | 'committed' | 'closed' = 'open';

  constructor(descriptor: Descriptor, kept: Kept, ends: Ends) {
    this.descriptor = descriptor;
    this.#kept = kept;
    for (const { start, end } of kept.spans.spans) this.#arrived.add(start, end);
    this.#ends = ends;
    this.#checked.promise.catch(() => undefined);
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

  markVerified(start: number, end: number): void {
    if (this.has(start, end)) this.#verified.add(start, end);
  }

  waitVerified(offset: number, signal: AbortSignal): Promise<number> {
    return this.#verified.wait(offset, signal);
  }

  waitWritten(offset: number, signal: AbortSignal): Promise<number> {
    return this.#arrived.wait(offset, signal);
  }

  waitChecked(signal: AbortSignal): Promise<void> {
    return orAborted(this.#checked.promise, signal);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (!this.has(offset, offset + length)) throw new QuayctlError('store', 'not written there');
    return cut(this.#kept.bytes, offset, length);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#mustBeOpen();
    if (offset < 0 || offset + bytes.length > this.size) throw new QuayctlError('internal', 'past the end');
    this.#verified.remove(offset, offset + bytes.length);
    for (const { start, end } of this.spans) {
      const [from, until] = [Math.max(start, offset), Math.min(end, offset + bytes.length)];
      const isSame = Buffer.compare(
        this.#kept.bytes.subarray(from, Math.max(from, until)),
        bytes.subarray(from - offset, Math.max(from, until) - offset),
      );
      if (from < until && isSame !== 0) this.changes++;
    }
    this.#kept.bytes.set(bytes, offset);
    this.#kept.spans.add(offset, offset + bytes.length);
    this.#arrived.add(offset, offset + bytes.length);
  }

  async discard(span: Span = { start: 0, end: this.size }): Promise<void> {
    this.#mustBeOpen();
    this.changes++;
    this.#kept.spans.remove(span.start, span.end);
    this.#verified.remove(span.start, span.end);
    this.#arrived.remove(span.start, span.end);
  }

  async commit(): Promise<void> {
    this.#mustBeOpen();
    const { bytes, spans } = this.#kept;
    if (spans.total !== this.size || digestOf(bytes) !== this.descriptor.digest) {
      throw new QuayctlError('verification', `${this.descriptor.digest}: does not verify`);
    }
    this.#state = 'committed';
    this.#checked.resolve();
    this.#verified.add(0, this.size);
    this.#ends.commit();
  }

  async close(): Promise<void> {
    if (this.#state === 'open') this.#ends.close();
    this.#state = 'closed';
    const ended = new QuayctlError('interrupted', 'the download ended');
    this.#verified.close(ended);
    this.#arrived.close(ended);
    this.#checked.reject(ended);
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
