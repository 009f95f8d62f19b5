import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dropBody, dumpBody } from '../http/http.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import type { LocatedResponse } from '../http/redirect.ts';
import type { RegistryRequest, Requester } from './requester.ts';
import { readResuming, type Patience } from './resuming.ts';

/** How long a signed storage URL is used again. Registries sign for 10 minutes or more. */
const STORAGE_URL_MS = 60_000;

export interface BlobReading {
  /** The registry, which may lead to the place that a foreign layer names; or such places alone. */
  readonly from?: 'registry' | 'urls';
  readonly patience?: Patience | undefined;
  readonly signal: AbortSignal;
}

/** The bytes of blobs by range; resumes where a transfer broke. */
export class BlobStream {
  readonly #requester: Requester;
  readonly #repository: string;
  readonly #storage = new Map<string, Omit<LocatedResponse, 'answer'> & { readonly until: number }>();

  constructor(requester: Requester, repository: string) {
    this.#requester = requester;
    this.#repository = repository;
  }

  /** Bytes `start` to `end` (exclusive). @throws as Repository.blob */
  read(
    blob: Descriptor,
    start: number,
    end: number,
    { signal, from = 'registry', patience }: BlobReading,
  ): AsyncGenerator<Uint8Array> {
    const what = `blob ${shortDigest(blob.digest)} of ${this.#repository}`;
    return readResuming(
      blob,
      { start, end },
      {
        what,
        open: (request) => (from === 'urls' ? this.#openForeign(blob, request) : this.#open(blob, request)),
        // Another storage node may do better: the registry is asked again.
        onBroken: () => void this.#storage.delete(blob.digest),
        attempts: this.#requester.attempts,
        patience,
        signal,
      },
    );
  }

  /** At the storage that answered last, else through the registry, else at the foreign layer's own place. */
  async #open(blob: Descriptor, request: RegistryRequest): Promise<LocatedResponse> {
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

  async #openKept(blob: Descriptor, request: RegistryRequest): Promise<LocatedResponse | undefined> {
    const kept = this.#storage.get(blob.digest);
    if (kept === undefined) return undefined;
    if (kept.until > Date.now()) {
      try {
        const { url, denyLocal } = kept;
        const answer = await this.#requester.once(url, { ...request, denyLocal });
        if (answer.statusCode === 200 || answer.statusCode === 206) return { answer, url, denyLocal };
        dropBody(answer);
      } catch (error) {
        if (!isQuayctlError(error, 'unreachable')) throw error;
      }
    }
    this.#storage.delete(blob.digest);
    return undefined;
  }

  async #openForeign(blob: Descriptor, request: RegistryRequest): Promise<LocatedResponse> {
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

  async #keep(
    blob: Descriptor,
    { answer, url, denyLocal }: LocatedResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const { origin } = await this.#requester.base(signal);
    if (url.origin === origin || (answer.statusCode !== 200 && answer.statusCode !== 206)) return;
    this.#storage.set(blob.digest, { url, denyLocal, until: Date.now() + STORAGE_URL_MS });
  }
}
