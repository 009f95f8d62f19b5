import { orAborted } from '../base/abort.ts';
import type { Digest } from '../image/digest.ts';
import type { BlobFeed } from './engine.ts';

/** Which of an image's layers are committed by now. One failure ends every wait. */
export class Arrivals {
  /** Rejects as soon as one of the layers cannot come. */
  readonly failed: Promise<never>;
  readonly #waits: readonly Promise<void>[];
  readonly #ready: boolean[];

  /** @param wanted from this index on; the layers before it are not waited for */
  constructor(layers: readonly { readonly digest: Digest }[], wanted: number, feed: Pick<BlobFeed, 'ready'>) {
    this.#ready = layers.map((_, at) => at < wanted);
    this.#waits = layers.map(async ({ digest }, at) => {
      if (at < wanted) return;
      await feed.ready(digest);
      this.#ready[at] = true;
    });
    this.failed = new Promise((_, reject) => {
      for (const wait of this.#waits) wait.catch(reject);
    });
    this.failed.catch(() => undefined);
  }

  /** Waits for one layer. Rejects as soon as any layer cannot come, or with the signal's reason. */
  async until(at: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await orAborted(Promise.race([this.failed, this.#waits[at]]), signal);
  }

  /** Waits for all of them. Rejects as `until` does. */
  async all(signal: AbortSignal): Promise<void> {
    for (const at of this.#waits.keys()) await this.until(at, signal);
  }

  /** The end (exclusive) of the run of ready layers that begins at `at`. */
  readyUntil(at: number): number {
    let end = at;
    while (this.#ready[end] === true) end++;
    return end;
  }
}
