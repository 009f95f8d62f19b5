import { rename, rm, type FileHandle } from 'node:fs/promises';
import { orAborted } from '../base/abort.ts';
import { QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestHex, shortDigest } from '../image/digest.ts';
import type { PartialBlob, Span } from './blob-store.ts';
import { onDisk, openPrivateFile, syncDirectory } from './disk.ts';
import { Journal } from './journal.ts';
import type { Lock } from './locks.ts';
import type { StorePaths } from './paths.ts';
import { PrefixHash } from './prefix-hash.ts';
import { readExactly } from './read.ts';
import type { SpanSet } from './spans.ts';
import { AwaitedSpans } from './awaited-spans.ts';

/** Dirty pages beyond this are written out while the download goes on, so that the commit need not wait for them. */
const SYNC_EVERY_BYTES = 8 * 1024 * 1024;

interface Opened {
  readonly descriptor: Descriptor;
  readonly paths: StorePaths;
  readonly lock: Lock;
  readonly file: FileHandle;
  readonly journal: Journal;
  readonly spans: SpanSet;
  /** Told before the blob appears in `blobs/`. */
  readonly onCommit: () => Promise<void>;
}

/** Opens what an earlier run left, or begins. The lock goes over to the partial blob. @throws QuayctlError */
export async function openPartialFile(
  options: Pick<Opened, 'descriptor' | 'paths' | 'lock' | 'onCommit'>,
): Promise<PartialBlob> {
  const { descriptor, paths } = options;
  const { digest, size } = descriptor;
  return onDisk(`cannot write ${shortDigest(digest)} into the store`, async () => {
    const file = await openPrivateFile(paths.partial(digest));
    try {
      const available = (await file.stat()).size;
      if (available > size) await file.truncate(size);
      const opened = await Journal.open(paths.journal(digest), paths.own('tmp'), size, available);
      return new PartialFile({ ...options, file, ...opened });
    } catch (error) {
      await file.close();
      throw error;
    }
  });
}

/** A sparse file, the journal of its spans, and the running hash of its prefix. */
class PartialFile implements PartialBlob {
  readonly descriptor: Descriptor;
  readonly #opened: Opened;
  readonly #hash: PrefixHash;
  readonly #spans: SpanSet;
  readonly #verified = new AwaitedSpans();
  readonly #arrived = new AwaitedSpans();
  readonly #checked = Promise.withResolvers<void>();
  #changes = 0;
  readonly #underWay = new Set<Promise<unknown>>();
  #committed = false;
  #closed: Promise<void> | undefined;
  #unsynced = 0;
  #syncing: Promise<void> | undefined;
  #syncFailure: Error | undefined;

  constructor(opened: Opened) {
    this.#opened = opened;
    this.descriptor = opened.descriptor;
    this.#spans = opened.spans;
    const { file } = opened;
    const spans = opened.spans;
    this.#hash = new PrefixHash({
      get prefix() {
        return spans.prefix;
      },
      readInto: async (buffer, position) => (await file.read(buffer, 0, buffer.length, position)).bytesRead,
    });
    for (const { start, end } of spans.spans) this.#arrived.add(start, end);
    this.#checked.promise.catch(() => undefined);
    // What an earlier run left is hashed while the rest is being downloaded.
    this.#hash.advance();
  }

  get size(): number {
    return this.descriptor.size;
  }

  get spans(): readonly Span[] {
    return [...this.#spans.spans];
  }

  get written(): number {
    return this.#spans.total;
  }

  has(start: number, end: number): boolean {
    return this.#spans.has(start, end);
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

  get changes(): number {
    return this.#changes;
  }

  async read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    this.#mustBeOpen();
    if (offset < 0 || length < 0 || offset + length > this.size || !this.has(offset, offset + length)) {
      throw new QuayctlError('store', `${this.#name}: bytes ${offset} to ${offset + length} are not there`);
    }
    return this.#track(
      onDisk(`cannot read ${this.#name}`, () => readExactly(this.#opened.file, offset, length, into)),
    );
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#mustBeOpen();
    const end = offset + bytes.length;
    if (this.#committed || !Number.isSafeInteger(offset) || offset < 0 || end > this.size) {
      throw new QuayctlError('internal', `${this.#name}: write of bytes ${offset} to ${end} of ${this.size}`);
    }
    if (bytes.length === 0) return;
    await this.#track(onDisk(`cannot write ${this.#name}`, () => this.#write({ start: offset, end }, bytes)));
  }

  async discard(span: Span = { start: 0, end: this.size }): Promise<void> {
    this.#mustBeOpen();
    if (this.#committed) throw new QuayctlError('internal', `${this.#name}: discarded after its commit`);
    await this.#track(
      onDisk(`cannot write ${this.#name}`, async () => {
        this.#changes++;
        this.#forget(span);
        if (this.#spans.total > 0) return this.#opened.journal.append('-', span);
        await this.#opened.journal.rewrite(this.#spans);
        await this.#opened.file.truncate(0);
      }),
    );
  }

  async commit(): Promise<void> {
    this.#mustBeOpen();
    if (this.#committed) return;
    await this.#track(onDisk(`cannot commit ${this.#name}`, () => this.#commit()));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  get #name(): string {
    return shortDigest(this.descriptor.digest);
  }

  async #write(span: Span, bytes: Uint8Array): Promise<void> {
    const { file, journal } = this.#opened;
    if (this.#spans.overlaps(span.start, span.end) || this.#hash.position > span.start) {
      // It is being written over, and must not be read or hashed until it is whole again.
      if (await this.#differs(span, bytes)) this.#changes++;
      this.#forget(span);
    }
    try {
      const writing = writeAll(file, span.start, bytes);
      // Beside the write, which is on another thread.
      this.#hash.feed(span.start, bytes);
      await writing;
    } catch (error) {
      // The hash has taken what the disk has not.
      this.#hash.reset(span.start);
      throw error;
    }
    this.#spans.add(span.start, span.end);
    this.#arrived.add(span.start, span.end);
    await journal.append('+', span);
    await journal.shorten(this.#spans);
    this.#hash.advance();
    this.#writeOut(bytes.length);
  }

  #forget({ start, end }: Span): void {
    this.#spans.remove(start, end);
    this.#verified.remove(start, end);
    this.#arrived.remove(start, end);
    this.#hash.reset(start);
  }

  /** Whether bytes that are written where `bytes` is to go are other ones. */
  async #differs({ start, end }: Span, bytes: Uint8Array): Promise<boolean> {
    for (const span of this.spans) {
      const from = Math.max(start, span.start);
      const until = Math.min(end, span.end);
      if (from >= until) continue;
      const old = await readExactly(this.#opened.file, from, until - from);
      if (Buffer.compare(old, bytes.subarray(from - start, until - start)) !== 0) return true;
    }
    return false;
  }

  /** fdatasync in the background, one at a time. */
  #writeOut(bytes: number): void {
    this.#unsynced += bytes;
    if (this.#unsynced < SYNC_EVERY_BYTES || this.#syncing !== undefined) return;
    this.#unsynced = 0;
    this.#syncing = this.#opened.file
      .datasync()
      .catch((error: Error) => {
        // The kernel tells of lost pages once only.
        this.#syncFailure ??= error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  async #commit(): Promise<void> {
    const { descriptor, paths, file, journal, lock, onCommit } = this.#opened;
    const { digest, size } = descriptor;
    if (!this.#spans.has(0, size)) {
      const { written } = this;
      throw new QuayctlError(
        'verification',
        `${this.#name}: incomplete, ${written} of ${size} bytes are there`,
      );
    }
    const found = await this.#hash.finish(size);
    if (found !== digestHex(digest)) {
      throw new QuayctlError('verification', `${digest}: its content does not verify, it is sha256:${found}`);
    }
    const { size: there } = await file.stat();
    if (there !== size) throw new QuayctlError('verification', `${this.#name}: ${there} bytes, not ${size}`);
    this.#checked.resolve();
    await this.#syncing;
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
    await file.datasync();
    await onCommit();
    await rename(paths.partial(digest), paths.blob(digest));
    this.#committed = true;
    this.#verified.add(0, size);
    await syncDirectory(paths.blobs);
    await journal.close();
    await rm(paths.journal(digest), { force: true });
    await lock.release();
  }

  async #close(): Promise<void> {
    const { file, journal, lock } = this.#opened;
    const ended = new QuayctlError('interrupted', `${this.#name}: the download ended`);
    this.#verified.close(ended);
    this.#arrived.close(ended);
    this.#checked.reject(ended);
    await Promise.allSettled(this.#underWay);
    await this.#syncing;
    await this.#hash.stop();
    if (!this.#committed) await journal.close().catch(() => undefined);
    await file.close().catch(() => undefined);
    await lock.release();
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const settled = work.catch(() => undefined).finally(() => this.#underWay.delete(settled));
    this.#underWay.add(settled);
    return work;
  }

  #mustBeOpen(): void {
    if (this.#closed !== undefined)
      throw new QuayctlError('internal', `${this.#name}: used after it was closed`);
  }
}

async function writeAll(file: FileHandle, offset: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}
