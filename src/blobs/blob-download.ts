import { orAborted } from '../base/abort.ts';
import { QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { BlobReader, BlobStore } from '../store/blob-store.ts';
import { ReplacedBytes } from '../store/replaced-bytes.ts';
import type { Swarm } from '../swarm/swarm-client.ts';
import type { BlobProgress } from './blob-events.ts';
import type { BlobOrigin } from './blob-origin.ts';
import type { DownloadQueue } from './download-queue.ts';
import type { DownloadState } from './download-states.ts';
import { Transfer, type TransferContext } from './transfer.ts';
import { NOTHING, type BlobOutcome } from './transfer-ledger.ts';

const PROGRESS_MS = 200;
/** The queue must not notice the end of a blob later than the next one needs to begin. Milliseconds. */
const QUEUE_MS = 50;
/** What a reader is given at once. */
const CHUNK_BYTES = 256 * 1024;

/** What the downloads of one process share. */
export interface DownloadContext extends TransferContext {
  readonly store: Pick<BlobStore, 'begin' | 'open'>;
  readonly queue: DownloadQueue;
  /** How long a download goes on after its last user has left, in case one comes back. Milliseconds. */
  readonly lingerMs: number;
}

/** How a reader of a blob that arrives is given its bytes. */
export interface ReaderOptions {
  /**
   * Whether the bytes at the reader's position come before all others. A node that fetches in order has little that
   * its peers lack, so a reader that can wait leaves the order to the swarm. Default true.
   */
  readonly isUrgent?: boolean;
  /**
   * Whether each byte matches a hash when it is given out: that of its piece or, without a torrent, the digest of the
   * blob. Without it all bytes but the last are given out as they arrive, for a reader that makes nothing of a blob
   * that is incomplete. Default true.
   */
  readonly isVerified?: boolean;
}

/**
 * One blob on its way into the store, for all in this process who want it: whole (`wait`), or its bytes while they
 * arrive (`reader`). When the last of them leaves, the download ends, and what has arrived stays for the next one.
 */
export class BlobDownload {
  readonly blob: Descriptor;
  readonly origin: BlobOrigin;
  /** Settles when the blob is committed, or will not be. It is no wish for the blob: `wait` is. */
  readonly done: Promise<BlobOutcome>;
  readonly #context: DownloadContext;
  readonly #stop = new AbortController();
  readonly #begun = Promise.withResolvers<void>();
  readonly #states: (DownloadState | 'queued')[] = ['queued'];
  #transfer: Transfer | undefined;
  #interests = 0;
  #lingering: NodeJS.Timeout | undefined;
  #isSettled = false;

  constructor(blob: Descriptor, origin: BlobOrigin, context: DownloadContext) {
    this.blob = blob;
    this.origin = origin;
    this.#context = context;
    this.done = this.#run().finally(() => {
      this.#isSettled = true;
      clearTimeout(this.#lingering);
      this.#begun.resolve();
    });
    // `done` may have no listener: those who want the blob are told of the failure.
    this.done.catch(() => undefined);
  }

  get digest(): Digest {
    return this.blob.digest;
  }

  get size(): number {
    return this.blob.size;
  }

  /** `queued`, and every state of `download-states.ts` that it has been in; the last is the present one. */
  get states(): readonly (DownloadState | 'queued')[] {
    return this.#states;
  }

  /** It has been told to end: who wants the blob now needs another download. */
  get isEnding(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Bytes per second, from peers and the registry together. */
  get rate(): number {
    return this.progress().downloadRate;
  }

  /** The swarm that it is in, if it is in one. */
  get swarm(): Swarm | undefined {
    return this.#transfer?.ledger.swarm;
  }

  progress(): BlobProgress {
    const { digest, size } = this.blob;
    const none = { received: 0, fromPeers: 0, fromRegistry: 0, peers: 0, downloadRate: 0, uploadRate: 0 };
    return this.#transfer?.ledger.progress() ?? { digest, size, ...none };
  }

  /**
   * Wants the whole blob. An abort withdraws the wish, and ends the download if it was the last one.
   * @throws what the download failed with; the signal's reason
   */
  async wait(signal: AbortSignal): Promise<BlobOutcome> {
    signal.throwIfAborted();
    const withdraw = this.#hold();
    const { promise: left, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => {
      withdraw(signal.reason);
      // If the download ends with it, it is waited for: files and locks are closed by then.
      if (!this.isEnding) reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([this.done, left]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      withdraw();
    }
  }

  /**
   * Bytes `start` to `end` (exclusive), in order, while the blob arrives. The last byte of the blob comes after the
   * digest of the whole was checked, so nobody gets all of a blob that is wrong.
   * @throws what the download failed with; the signal's reason; ReplacedBytes when bytes that were given out turn out
   *   to be wrong
   */
  async *reader(
    start = 0,
    end = this.size,
    signal: AbortSignal = new AbortController().signal,
    { isUrgent = true, isVerified = true }: ReaderOptions = {},
  ): AsyncGenerator<Uint8Array> {
    const withdraw = this.#hold();
    let committed: BlobReader | undefined;
    let changes: number | undefined;
    const changesByNow = (): number | undefined =>
      isVerified ? this.#transfer?.generation : this.#transfer?.partial.changes;
    try {
      for (let at = start; at < end;) {
        const available =
          committed === undefined ? await this.#available(at, signal, { isUrgent, isVerified }) : end;
        if (available === 'all') committed = await this.#context.store.open(this.digest);
        changes ??= changesByNow();
        const until = Math.min(end, at + CHUNK_BYTES, available === 'all' ? end : available);
        const chunk = await (committed ?? this.#transfer?.partial)
          ?.read(at, until - at)
          .catch(async (error) => {
            if (committed !== undefined) throw error;
            // The partial blob is discarded or closed at this moment: how the download ends says why.
            await this.done;
          });
        if (changes !== changesByNow()) throw new ReplacedBytes(shortDigest(this.digest));
        if (chunk === undefined) continue;
        at = until;
        yield chunk;
      }
    } finally {
      withdraw(signal.reason);
      await committed?.close();
    }
  }

  /** Bytes `start` to `end` come before all others, as far as the sources allow it. */
  want(start: number, end: number): void {
    this.#context.queue.hurry(this.digest);
    this.#transfer?.want(start, end);
  }

  /** Ends it for all users; a single user leaves by aborting its own signal. Bytes that have arrived stay. */
  cancel(
    reason: unknown = new QuayctlError('interrupted', `${shortDigest(this.digest)} is not wanted any more`),
  ): void {
    if (!this.#isSettled) this.#stop.abort(reason);
  }

  /** @returns withdraws the wish again; idempotent */
  #hold(): (reason?: unknown) => void {
    this.#interests++;
    clearTimeout(this.#lingering);
    let isHeld = true;
    return (reason) => {
      if (!isHeld) return;
      isHeld = false;
      if (--this.#interests > 0 || this.#isSettled) return;
      const { lingerMs } = this.#context;
      if (lingerMs === 0) this.cancel(reason);
      else this.#lingering = setTimeout(() => this.cancel(), lingerMs);
    };
  }

  async #run(): Promise<BlobOutcome> {
    const { queue, store, estimate, listener } = this.#context;
    const { signal } = this.#stop;
    // Not before the constructor has returned.
    await Promise.resolve();
    await queue.begin(this.digest, this.size, signal);
    const move = (): void => queue.moved(this.digest, this.progress().received);
    const report = (): void => listener({ kind: 'progress', progress: this.progress() });
    const onState = (state: DownloadState): void => void this.#states.push(state);
    let tickers: readonly NodeJS.Timeout[] = [];
    try {
      const partial = await store.begin(this.blob, signal);
      if (partial === 'present') {
        onState('done');
        return { ...NOTHING, fromStore: this.size };
      }
      const transfer = new Transfer(partial, this.origin, this.#context, signal, onState);
      this.#transfer = transfer;
      this.#begun.resolve();
      tickers = [setInterval(move, QUEUE_MS), setInterval(report, PROGRESS_MS)];
      const { ledger } = transfer;
      let isWhole = false;
      try {
        await transfer.run();
        isWhole = true;
      } finally {
        const { fromPeers, fromRegistry } = isWhole ? ledger.outcome() : ledger.progress();
        listener({ kind: 'fetched', digest: this.digest, name: this.origin.name, fromPeers, fromRegistry });
      }
      const outcome = ledger.outcome();
      estimate.observe(outcome);
      return outcome;
    } finally {
      for (const ticker of tickers) clearInterval(ticker);
      if (tickers.length > 0) report();
      queue.ended(this.digest);
    }
  }

  /** Waits for the byte at `at`. @returns where the bytes end that may be given out; `all` when it is committed */
  async #available(
    at: number,
    signal: AbortSignal,
    options: Required<ReaderOptions>,
  ): Promise<number | 'all'> {
    const stop = new AbortController();
    if (options.isUrgent) this.#context.queue.hurry(this.digest);
    try {
      return await orAborted(Promise.race([this.#arrived(at, stop.signal, options), this.#whole()]), signal);
    } finally {
      stop.abort();
    }
  }

  async #arrived(
    at: number,
    signal: AbortSignal,
    { isUrgent, isVerified }: Required<ReaderOptions>,
  ): Promise<number | 'all'> {
    await this.#begun.promise;
    const last = this.size - 1;
    if (this.#transfer === undefined || this.#isSettled) return this.#whole();
    if (isUrgent) this.#transfer.want(at, this.size);
    try {
      const { partial } = this.#transfer;
      if (at >= last) {
        await partial.waitChecked(signal);
        return this.size;
      }
      const wait = isVerified ? partial.waitVerified(at, signal) : partial.waitWritten(at, signal);
      return Math.min(last, await wait);
    } catch {
      // The partial blob was closed: how the download ended says more.
      return this.#whole();
    }
  }

  async #whole(): Promise<'all'> {
    await this.done;
    return 'all';
  }
}
