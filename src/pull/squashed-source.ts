import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { delay } from '../base/retry.ts';
import { askUntilMade } from '../blobs/ask-until-made.ts';
import type { BlobOrigin, FetchRules } from '../blobs/blob-origin.ts';
import { TorrentFinder } from '../blobs/torrent-finder.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import { squashedDescriptor } from '../image/squashed.ts';
import { decodeTorrent, type Metainfo } from '../metainfo/metainfo.ts';
import type { TorrentAnswer } from '../registry/repository.ts';
import type { PullContext } from './pull-context.ts';

/** The longest `?wait=` that the torrent service takes. */
const MAX_WAIT_SECONDS = 60;
/** Progress is to be seen while the service works: each question waits so much longer than the one before. */
const WAIT_STEP_SECONDS = 5;
/** Signed URLs live an hour unless the service says otherwise; younger ones are asked for in time. */
const FRESH_MS = 10 * 60_000;
/** How long a service that has begun to make a squashed image may be away before the pull is given up. */
const MAX_SILENCE_MS = 2 * 60_000;
const ASK_AGAIN_MS = 1000;

/** The squashed image of a manifest, at the torrent service, as the file that is downloaded. */
export class SquashedSource {
  readonly #context: PullContext;
  readonly #manifest: Digest;
  #urls: readonly string[] = [];
  #urlsUntil = 0;

  constructor(context: PullContext, manifest: Digest) {
    this.#context = context;
    this.#manifest = manifest;
  }

  /**
   * What the file must be, as its torrent says; waits while the service makes it.
   * @throws QuayctlError `no-torrent` where there is none to be had, `protocol` where the torrent names no digest
   */
  async file(signal: AbortSignal): Promise<Descriptor> {
    const { digest, geometry } = await this.#torrent(signal);
    if (digest === undefined) {
      throw new QuayctlError('protocol', `the torrent of ${this.#what} does not say what it must hash to`);
    }
    return squashedDescriptor({ digest, size: geometry.length });
  }

  /** The file as a blob like others: its torrent is the squashed image's, its registry the service. */
  origin(rules: FetchRules): BlobOrigin {
    const { torrents } = this.#context;
    const torrent = (_: Descriptor, wait: number, signal: AbortSignal): Promise<TorrentAnswer> =>
      torrents.squashed(this.#manifest, wait, signal);
    return {
      source: { open: (file, start, end, signal) => this.#read(file, start, end, signal) },
      torrents: new TorrentFinder({
        ...this.#context,
        torrents: {
          torrent,
          serviceKeys: (kid, signal) => torrents.serviceKeys(kid, signal),
          report: (token, report, signal) => torrents.report(token, report, signal),
        },
      }),
      rules,
    };
  }

  get #what(): string {
    return `the squashed image of ${shortDigest(this.#manifest)}`;
  }

  async #torrent(signal: AbortSignal): Promise<Metainfo> {
    let heardAt: number | undefined;
    let waitSeconds = 0;
    const ask = async (): Promise<TorrentAnswer> => {
      waitSeconds = Math.min(MAX_WAIT_SECONDS, waitSeconds + WAIT_STEP_SECONDS);
      const answer = await this.#ask(waitSeconds, heardAt, signal);
      heardAt = performance.now();
      return answer;
    };
    const answer = await askUntilMade(ask, signal, ({ size, hashed: done, etaSeconds }) =>
      this.#context.listener({ kind: 'making', size, done, etaSeconds }),
    );
    if (answer.kind === 'torrent') return this.#seen(decodeTorrent(answer.bytes));
    throw this.#notThere(answer.kind === 'none' ? answer : { kind: 'none', reason: 'it is being made' });
  }

  /** A service that is restarted while it makes the image is waited for: it goes on where it stopped. */
  async #ask(waitSeconds: number, heardAt: number | undefined, signal: AbortSignal): Promise<TorrentAnswer> {
    const { torrents, listener } = this.#context;
    for (;;) {
      try {
        return await torrents.squashed(this.#manifest, waitSeconds, signal);
      } catch (error) {
        const isGone = heardAt === undefined || performance.now() - heardAt > MAX_SILENCE_MS;
        if (isGone || !isQuayctlError(error, 'unreachable')) throw error;
        listener({ kind: 'debug', message: `${error.message}; waiting for it` });
        await delay(ASK_AGAIN_MS, signal);
      }
    }
  }

  #seen(metainfo: Metainfo): Metainfo {
    this.#urls = metainfo.urlList;
    this.#urlsUntil = performance.now() + FRESH_MS;
    return metainfo;
  }

  #notThere({ reason, isService }: TorrentAnswer & { kind: 'none' }): QuayctlError {
    const hint =
      'squashed images are made by a torrent service (`quayctl serve`); name it with --torrent-service URL';
    return new QuayctlError('no-torrent', `${this.#what} is not available: ${reason}`, {
      hint: isService ? undefined : hint,
    });
  }

  /** From the web seed that the torrent names; its URL is signed, and asked for anew when it is old or refused. */
  async *#read(
    file: Descriptor,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const { repository } = this.#context;
    let at = start;
    const isFresh = performance.now() < this.#urlsUntil;
    if (!isFresh) await this.#torrent(signal);
    try {
      for await (const chunk of repository.elsewhere({ ...file, urls: this.#urls }, at, end, signal)) {
        at += chunk.length;
        yield chunk;
      }
    } catch (error) {
      if (!isFresh || !isQuayctlError(error, 'not-found', 'unauthorized')) throw error;
      await this.#torrent(signal);
      yield* repository.elsewhere({ ...file, urls: this.#urls }, at, end, signal);
    }
  }
}
