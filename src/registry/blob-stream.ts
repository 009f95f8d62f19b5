import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dropBody, dumpBody } from '../base/http.ts';
import { isPassing, networkError } from '../base/network-error.ts';
import { delay } from '../base/retry.ts';
import { inGoodTime } from '../base/slow-body.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import { bodyOf, type BlobBody } from './blob-body.ts';
import type { Located, RegistryRequest, Requester } from './requester.ts';

/** Broken transfers in a row before a blob is given up, ... */
const MAX_FRUITLESS = 5;
/** ... where none brought so many bytes: a server that sends one at a time gets nowhere. */
const MIN_PROGRESS = 16 * 1024;
/** ... or where they took so long, after a second try: a registry that only restarts is back by then. */
const FRUITLESS_MS = 15_000;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 4_000;
/** A place that does not begin to answer by then is left for another try. */
const HEADERS_TIMEOUT_MS = 15_000;
/** A signed storage URL is used again for so long; registries sign for 10 minutes and more. */
const STORAGE_URL_MS = 60_000;

/** The bytes of blobs by range; resumes where a transfer broke. */
export class BlobStream {
  readonly #requester: Requester;
  readonly #repository: string;
  readonly #storage = new Map<string, Omit<Located, 'answer'> & { readonly until: number }>();

  constructor(requester: Requester, repository: string) {
    this.#requester = requester;
    this.#repository = repository;
  }

  async *read(blob: Descriptor, start: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    let at = start;
    let fruitless = 0;
    let fruitlessSince = 0;
    while (at < end) {
      signal.throwIfAborted();
      const began = at;
      if (fruitless === 0) fruitlessSince = performance.now();
      try {
        for await (const chunk of this.#range(blob, at, end, signal)) {
          at += chunk.length;
          yield chunk;
        }
      } catch (error) {
        signal.throwIfAborted();
        // Another storage node may do better: the registry is asked again.
        this.#storage.delete(blob.digest);
        fruitless = at - began < MIN_PROGRESS ? fruitless + 1 : 0;
        const isOver = fruitless > 1 && performance.now() - fruitlessSince > FRUITLESS_MS;
        if (!isPassing(error) || fruitless >= MAX_FRUITLESS || isOver) throw error;
        await delay(Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, fruitless - 1)), signal);
      }
    }
  }

  async *#range(
    blob: Descriptor,
    start: number,
    end: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const whole = start === 0 && end === blob.size;
    const request: RegistryRequest = {
      // Another encoding would be other bytes than those that the digest is of.
      headers: { 'accept-encoding': 'identity', ...(whole ? {} : { range: `bytes=${start}-${end - 1}` }) },
      what: `blob ${shortDigest(blob.digest)} of ${this.#repository}`,
      headersTimeoutMs: HEADERS_TIMEOUT_MS,
      signal,
    };
    const { answer, url } = await this.#open(blob, request);
    let body: BlobBody;
    try {
      body = bodyOf(answer, blob, start, end, url);
    } catch (error) {
      dropBody(answer);
      throw error;
    }
    yield* useful(body, url, signal);
  }

  /** At the storage that answered last, else through the registry, else at the foreign layer's own place. */
  async #open(blob: Descriptor, request: RegistryRequest): Promise<Located> {
    const kept = await this.#openKept(blob, request);
    if (kept !== undefined) return kept;
    const located = await this.#requester.get(`/v2/${this.#repository}/blobs/${blob.digest}`, request);
    if (located.answer.statusCode === 404) {
      await dumpBody(located.answer);
      return this.#openForeign(blob, request);
    }
    await this.#keep(blob, located, request.signal);
    return located;
  }

  async #openKept(blob: Descriptor, request: RegistryRequest): Promise<Located | undefined> {
    const kept = this.#storage.get(blob.digest);
    if (kept === undefined) return undefined;
    if (kept.until > Date.now()) {
      try {
        const { url, remoteOnly } = kept;
        const answer = await this.#requester.once(url, { ...request, remoteOnly });
        if (answer.statusCode === 200 || answer.statusCode === 206) return { answer, url, remoteOnly };
        dropBody(answer);
      } catch (error) {
        if (!isQuayctlError(error, 'unreachable')) throw error;
      }
    }
    this.#storage.delete(blob.digest);
    return undefined;
  }

  async #openForeign(blob: Descriptor, request: RegistryRequest): Promise<Located> {
    let last: unknown;
    for (const text of blob.urls ?? []) {
      const start = URL.parse(text);
      if (start === null || !/^https?:$/.test(start.protocol)) continue;
      try {
        const located = await this.#requester.follow(start, request);
        if (located.answer.statusCode === 200 || located.answer.statusCode === 206) {
          await this.#keep(blob, located, request.signal);
          return located;
        }
        last = new Error(`${located.url.host} answers ${located.answer.statusCode}`);
        dropBody(located.answer);
      } catch (error) {
        if (!isQuayctlError(error, 'unreachable', 'rate-limited', 'protocol')) throw error;
        last = error;
      }
    }
    const foreign = last === undefined ? '' : ', nor has the place that its manifest names';
    throw new QuayctlError('not-found', `the registry has no ${request.what}${foreign}`, { cause: last });
  }

  async #keep(blob: Descriptor, { answer, url, remoteOnly }: Located, signal: AbortSignal): Promise<void> {
    const { origin } = await this.#requester.base(signal);
    if (url.origin === origin || (answer.statusCode !== 200 && answer.statusCode !== 206)) return;
    this.#storage.set(blob.digest, { url, remoteOnly, until: Date.now() + STORAGE_URL_MS });
  }
}

/** What of a body was asked for. @throws QuayctlError `unreachable` where it breaks off, `protocol` where it goes on */
async function* useful(body: BlobBody, url: URL, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let { skip, length: left } = body;
  try {
    for await (const chunk of inGoodTime(body.answer.body, url)) {
      if (left === 0) throw new QuayctlError('protocol', `${url.host} sends more than was asked for`);
      const part = chunk.subarray(skip, skip + left);
      const surplus = chunk.length - skip - part.length;
      skip -= Math.min(skip, chunk.length);
      left -= part.length;
      if (part.length > 0) yield part;
      if (left > 0 || body.goesOn) {
        if (left === 0) break;
      } else if (surplus > 0) throw new QuayctlError('protocol', `${url.host} sends more than was asked for`);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw networkError(url, error);
  }
  if (left > 0) throw new QuayctlError('unreachable', `${url.host} ended a transfer ${left} bytes too early`);
}
