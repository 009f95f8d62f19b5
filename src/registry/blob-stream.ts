import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, type HttpAnswer } from '../base/http.ts';
import { networkError } from '../base/network-error.ts';
import { delay } from '../base/retry.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import type { Located, RegistryRequest, Requester } from './requester.ts';

/** Broken transfers in a row, without a byte between them, before a blob is given up. */
const MAX_FRUITLESS = 5;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 4_000;
/** A signed storage URL is used again for so long; registries sign for 10 minutes and more. */
const STORAGE_URL_MS = 60_000;

/** The bytes of blobs by range; resumes where a transfer broke. */
export class BlobStream {
  readonly #requester: Requester;
  readonly #repository: string;
  readonly #storage = new Map<string, { readonly url: URL; readonly until: number }>();

  constructor(requester: Requester, repository: string) {
    this.#requester = requester;
    this.#repository = repository;
  }

  async *read(blob: Descriptor, start: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    let at = start;
    let fruitless = 0;
    while (at < end) {
      try {
        for await (const chunk of this.#range(blob, at, end, signal)) {
          at += chunk.length;
          fruitless = 0;
          yield chunk;
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!isQuayctlError(error, 'unreachable') || ++fruitless >= MAX_FRUITLESS) throw error;
        await delay(Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (fruitless - 1)), signal);
      }
    }
  }

  async *#range(blob: Descriptor, start: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const whole = start === 0 && end === blob.size;
    const request: RegistryRequest = {
      headers: whole ? {} : { range: `bytes=${start}-${end - 1}` },
      what: `blob ${shortDigest(blob.digest)} of ${this.#repository}`,
      signal,
    };
    const { answer, url } = await this.#open(blob, request);
    const offset = await bodyOffset(answer, blob, start, url);
    yield* exactly(answer, start - offset, end - start, url);
  }

  /** At the storage that answered last, else through the registry, else at the foreign layer's own place. */
  async #open(blob: Descriptor, request: RegistryRequest): Promise<Located> {
    const kept = this.#storage.get(blob.digest);
    if (kept !== undefined && kept.until > Date.now()) {
      const answer = await this.#requester.getStorage(kept.url, request);
      if (answer.statusCode < 300) return { answer, url: kept.url };
      await dumpBody(answer);
    }
    this.#storage.delete(blob.digest);
    const path = `/v2/${this.#repository}/blobs/${blob.digest}`;
    const located = await this.#requester.get(path, request);
    if (located.answer.statusCode === 404) {
      await dumpBody(located.answer);
      return this.#openForeign(blob, request);
    }
    const base = await this.#requester.base(request.signal);
    if (located.url.host !== base.host) {
      this.#storage.set(blob.digest, { url: located.url, until: Date.now() + STORAGE_URL_MS });
    }
    return located;
  }

  async #openForeign(blob: Descriptor, request: RegistryRequest): Promise<Located> {
    for (const text of blob.urls ?? []) {
      const url = URL.parse(text);
      if (url === null) continue;
      const answer = await this.#requester.getStorage(url, request);
      if (answer.statusCode < 300) return { answer, url };
      await dumpBody(answer);
    }
    throw new QuayctlError('not-found', `the registry has no ${request.what}`);
  }
}

/** Where in the blob the body begins; sizes that lie end here. */
async function bodyOffset(answer: HttpAnswer, blob: Descriptor, start: number, url: URL): Promise<number> {
  if (answer.statusCode === 206) {
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headerOf(answer, 'content-range') ?? '') ?? [];
    if (total !== undefined && total !== '*' && Number(total) !== blob.size) {
      await refuse(answer, wrongSize(blob, Number(total)));
    }
    if (Number(from) !== start) {
      await refuse(answer, new QuayctlError('protocol', `${url.host} sent another range than was asked for`));
    }
    return start;
  }
  if (answer.statusCode === 416) await refuse(answer, wrongSize(blob, undefined));
  if (answer.statusCode !== 200) {
    const text = `${url.host} answers ${answer.statusCode} for ${shortDigest(blob.digest)}`;
    await refuse(answer, new QuayctlError('protocol', text));
  }
  const length = headerOf(answer, 'content-length');
  if (length !== undefined && Number(length) !== blob.size) await refuse(answer, wrongSize(blob, Number(length)));
  return 0;
}

async function refuse(answer: HttpAnswer, error: QuayctlError): Promise<never> {
  answer.body.on('error', () => undefined);
  answer.body.destroy();
  throw error;
}

function wrongSize({ digest, size }: Descriptor, actual: number | undefined): QuayctlError {
  const has = actual === undefined ? 'fewer' : String(actual);
  return new QuayctlError(
    'verification',
    `${shortDigest(digest)} has ${size} bytes by its manifest, but ${has} in the registry`,
  );
}

/** Skips to the range (a server may ignore Range) and stops at its end. @throws QuayctlError `unreachable` if short */
async function* exactly(answer: HttpAnswer, skip: number, length: number, url: URL): AsyncGenerator<Uint8Array> {
  let [toSkip, left] = [skip, length];
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      const useful = chunk.subarray(toSkip, toSkip + left);
      toSkip -= Math.min(toSkip, chunk.length);
      left -= useful.length;
      if (useful.length > 0) yield useful;
      if (left === 0) break;
    }
  } catch (error) {
    throw networkError(url, error);
  }
  if (left > 0) throw new QuayctlError('unreachable', `${url.host} ended a transfer ${left} bytes too early`);
}
