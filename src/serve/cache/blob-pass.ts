import type { FileHandle } from 'node:fs/promises';
import { QuayctlError } from '../../base/errors.ts';

const READ_BYTES = 256 * 1024;

/** Bytes of one blob that the service can give without asking the upstream. They are not verified by the reader. */
export interface LocalBlob {
  /** Bytes of the whole blob. */
  readonly length: number;
  /**
   * Bytes `start` to `end` (exclusive), in order.
   * @throws QuayctlError `unreachable` where the rest has to be asked of the upstream
   */
  read(start: number, end: number): AsyncGenerator<Uint8Array>;
}

/**
 * One reading of a blob from the upstream, written into a file while it is hashed, so that everybody who wants the blob
 * meanwhile reads the file and the upstream is asked once. A reader that is ahead of the pass waits for it.
 */
export class BlobPass implements LocalBlob {
  readonly length: number;
  readonly #file: FileHandle;
  #written = 0;
  #isOver = false;
  #isFailed = false;
  #readers = 0;
  #news = Promise.withResolvers<void>();

  /** @param file empty, open for reading and writing; closed by the pass once it is over and nobody reads any more */
  constructor(file: FileHandle, length: number) {
    this.#file = file;
    this.length = length;
  }

  /**
   * Keeps the file open for somebody who is about to read.
   * @returns to be called when nothing more is read, once; undefined where it is too late to read
   */
  hold(): (() => Promise<void>) | undefined {
    if (this.#isFailed || (this.#isOver && this.#readers === 0)) return undefined;
    this.#readers++;
    return () => {
      this.#readers--;
      return this.#closeUnread();
    };
  }

  /** The next bytes of the blob. A disk that does not take them ends this pass and not the caller's work. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#isOver) return;
    try {
      for (let at = 0; at < chunk.length;) {
        const { bytesWritten } = await this.#file.write(chunk, at, chunk.length - at, this.#written);
        at += bytesWritten;
        this.#written += bytesWritten;
      }
    } catch {
      return this.fail();
    }
    this.#tell();
  }

  /**
   * All of it has been written and is right.
   * @returns whether it is on the disk
   */
  async succeed(): Promise<boolean> {
    if (this.#isOver) return false;
    const isWhole = this.#written === this.length && (await this.#file.datasync().then(yes, no));
    if (!isWhole) await this.fail();
    else await this.#end();
    return isWhole;
  }

  /** It broke off, or is wrong. Readers get an error and go to the upstream for the rest. Idempotent. */
  async fail(): Promise<void> {
    if (this.#isOver) return;
    this.#isFailed = true;
    await this.#end();
  }

  async *read(start: number, end: number): AsyncGenerator<Uint8Array> {
    const release = this.hold();
    if (release === undefined) throw brokenOff();
    try {
      for (let at = start; at < end;) {
        const news = this.#news.promise;
        if (this.#isFailed) throw brokenOff();
        const length = Math.min(READ_BYTES, end - at, this.#written - at);
        if (length <= 0) {
          await news;
          continue;
        }
        const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafe(length), 0, length, at);
        if (bytesRead === 0) throw brokenOff();
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await release();
    }
  }

  async #end(): Promise<void> {
    this.#isOver = true;
    this.#tell();
    await this.#closeUnread();
  }

  #tell(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  async #closeUnread(): Promise<void> {
    if (this.#isOver && this.#readers === 0) await this.#file.close().catch(no);
  }
}

function brokenOff(): QuayctlError {
  return new QuayctlError('unreachable', 'the reading from the upstream broke off');
}

const yes = (): boolean => true;
const no = (): boolean => false;
