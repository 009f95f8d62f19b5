import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { delay } from '../base/retry.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import { decodeTorrent, type Metainfo } from '../metainfo/metainfo.ts';
import type { Repository, TorrentAnswer } from '../registry/repository.ts';
import type { World } from './world.ts';

/** The longest `?wait=` (protocol.md). */
const WAIT_SECONDS = 60;
/** Progress is to be seen while the service works. */
const TELL_SECONDS = 5;
/** Signed URLs live an hour unless the service says otherwise; younger ones are asked for in time. */
const FRESH_MS = 10 * 60_000;
/** How long a service may be away that has begun to make the image. */
const SILENCE_MS = 2 * 60_000;
const ASK_AGAIN_MS = 1000;
const TYPE = 'application/x-tar';

/** The squashed image of a manifest, at the torrent service, as the file that is downloaded. */
export class SquashedSource {
  readonly #world: World;
  readonly #manifest: Digest;
  #urls: readonly string[] = [];
  #urlsUntil = 0;

  constructor(world: World, manifest: Digest) {
    this.#world = world;
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
    return { mediaType: TYPE, digest, size: geometry.length };
  }

  /** The world in which that file is a blob like others: its torrent is the squashed image's, its registry the service. */
  worldOf(file: Descriptor): World {
    const { torrents } = this.#world;
    const repository: Repository = {
      ...this.#world.repository,
      blob: (_, start, end, signal) => this.#read(file, start, end, signal),
    };
    return {
      ...this.#world,
      repository,
      torrents: {
        torrent: (_, waitSeconds, signal) => torrents.squashed(this.#manifest, waitSeconds, signal),
        squashed: (manifest, waitSeconds, signal) => torrents.squashed(manifest, waitSeconds, signal),
        manifest: (selector, signal) => torrents.manifest(selector, signal),
      },
    };
  }

  get #what(): string {
    return `the squashed image of ${shortDigest(this.#manifest)}`;
  }

  async #torrent(signal: AbortSignal): Promise<Metainfo> {
    const { listener } = this.#world;
    let heardAt: number | undefined;
    for (let wait = TELL_SECONDS; ; wait = Math.min(WAIT_SECONDS, wait + TELL_SECONDS)) {
      const askedAt = performance.now();
      const answer = await this.#ask(wait, heardAt, signal);
      heardAt = performance.now();
      if (answer.kind === 'torrent') return this.#seen(decodeTorrent(answer.bytes));
      if (answer.kind === 'none') throw this.#notThere(answer);
      const { size, hashed: done, etaSeconds } = answer;
      listener({ kind: 'making', size, done, etaSeconds });
      // A service that does not hold its answer back is not asked without pause.
      const pause = answer.retryAfterSeconds * 1000 - (performance.now() - askedAt);
      await delay(Math.max(0, pause), signal);
    }
  }

  /** A service that is started anew while it makes the image is waited for: it goes on where it stopped. */
  async #ask(waitSeconds: number, heardAt: number | undefined, signal: AbortSignal): Promise<TorrentAnswer> {
    const { torrents, listener } = this.#world;
    for (;;) {
      try {
        return await torrents.squashed(this.#manifest, waitSeconds, signal);
      } catch (error) {
        const isGone = heardAt === undefined || performance.now() - heardAt > SILENCE_MS;
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
    return new QuayctlError('no-torrent', `${this.#what} is not to be had: ${reason}`, {
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
    let at = start;
    const isFresh = performance.now() < this.#urlsUntil;
    if (!isFresh) await this.#torrent(signal);
    try {
      for await (const chunk of this.#elsewhere(file, at, end, signal)) {
        at += chunk.length;
        yield chunk;
      }
    } catch (error) {
      if (!isFresh || !isQuayctlError(error, 'not-found', 'unauthorized')) throw error;
      await this.#torrent(signal);
      yield* this.#elsewhere(file, at, end, signal);
    }
  }

  #elsewhere(file: Descriptor, start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#world.repository.elsewhere({ ...file, urls: this.#urls }, start, end, signal);
  }
}
