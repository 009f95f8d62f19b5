import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { BlobDownload, type DownloadContext } from './blob-download.ts';
import type { BlobOrigin } from './blob-origin.ts';
import { DownloadQueue } from './download-queue.ts';
import { Seeds } from './seeds.ts';
import { NOTHING, ThroughputEstimate, type BlobOutcome } from './transfer-ledger.ts';

export interface DownloadsOptions extends Pick<
  DownloadContext,
  'swarm' | 'downloadLimiter' | 'listener' | 'reports'
> {
  readonly store: Pick<BlobStore, 'begin' | 'open'>;
  /** How long a download goes on after its last user has left, milliseconds. Default 0. */
  readonly lingerMs?: number;
}

/** All downloads of this process: one for each digest, however many want it, and one queue. */
export class Downloads {
  /** The blobs that this process gives to others. */
  readonly seeds: Seeds;
  readonly #context: DownloadContext;
  readonly #running = new Map<Digest, BlobDownload>();

  constructor(options: DownloadsOptions) {
    this.seeds = new Seeds(options);
    this.#context = {
      lingerMs: 0,
      ...options,
      seeds: this.seeds,
      queue: new DownloadQueue(),
      estimate: new ThroughputEstimate(),
    };
  }

  /** The download of this blob that is under way, else a new one. It ends when the last one who wants it leaves. */
  start(blob: Descriptor, origin: BlobOrigin): BlobDownload {
    const running = this.#running.get(blob.digest);
    // Two sizes for one digest: one of them is wrong, and the store says which.
    if (running !== undefined && running.size === blob.size && !running.isEnding) return running;
    const download = new BlobDownload(blob, origin, this.#context);
    this.#running.set(blob.digest, download);
    const forget = (): void => {
      if (this.#running.get(blob.digest) === download) this.#running.delete(blob.digest);
    };
    download.done.then(forget, forget);
    return download;
  }

  /** The download of a blob while it is under way. */
  find(digest: Digest): BlobDownload | undefined {
    return this.#running.get(digest);
  }

  /** Those that are under way. */
  list(): BlobDownload[] {
    return [...this.#running.values()];
  }

  /** When a byte of any of them came last; milliseconds on the clock of performance.now. */
  get movedAt(): number {
    return this.#context.queue.movedAt;
  }

  /** Loads BitTorrent, and opens its port, before the first torrent is there. */
  prepareSwarm(): void {
    // Whatever is wrong with it is told when a blob needs it.
    this.#context.swarm().catch(() => undefined);
  }

  /**
   * The whole blob into the store.
   * @returns where its bytes came from; from the store, where another caller's download brought them
   * @throws QuayctlError as Transfer.run; the signal's reason
   */
  async fetch(blob: Descriptor, origin: BlobOrigin, signal: AbortSignal): Promise<BlobOutcome> {
    const download = this.start(blob, origin);
    if (download.origin === origin) return download.wait(signal);
    try {
      await download.wait(signal);
      return { ...NOTHING, fromStore: blob.size };
    } catch (error) {
      signal.throwIfAborted();
      if (isQuayctlError(error, 'disk-full', 'store')) throw error;
      // What another repository did not give, or another caller did not want any more, may be had here.
      return this.start(blob, origin).wait(signal);
    }
  }

  /** Ends every download and stops seeding. What has arrived stays. */
  async close(): Promise<void> {
    const running = [...this.#running.values()];
    for (const each of running) each.cancel(new QuayctlError('interrupted', 'the downloads were closed'));
    await Promise.allSettled(running.map(({ done }) => done));
    await Promise.all([this.seeds.close(), this.#context.reports?.close()]);
  }
}
