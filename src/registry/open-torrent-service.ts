import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, isLoopback, type Http, type HttpAnswer } from '../base/http.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { ManifestDocument } from '../image/manifest.ts';
import { MANIFEST_TYPES } from '../image/media-types.ts';
import { unauthorized } from './failures.ts';
import { manifestName, readManifestDocument } from './manifest-document.ts';
import type { OpenRepository } from './open-repository.ts';
import { withPatience } from './patience.ts';
import type { TorrentAnswer, TorrentService } from './repository.ts';
import { readTorrentAnswer } from './torrent-answer.ts';

const TORRENT_TYPE = 'application/x-bittorrent';
/** Asked to hold the answer, the service may hold it this much longer. */
const ANSWER_MARGIN_MS = 15_000;
const LONGEST_WAIT_SECONDS = 60;

/** Hosts that serve no torrents: host and time only, for an hour. The caller keeps it in the store. */
export interface SilentHosts {
  isSilent(host: string): Promise<boolean>;
  remember(host: string): Promise<void>;
}

export interface TorrentServiceOptions {
  readonly http: Http;
  readonly repository: OpenRepository;
  /** The registry's host as in references, sent as `ns`. */
  readonly registry: string;
  readonly name: string;
  /** `--torrent-service`; absent: the registry itself. */
  readonly service: URL | undefined;
  readonly insecure: boolean;
  readonly sendCredentials: boolean;
  readonly silentHosts: SilentHosts;
}

/** Asks for torrents at the registry itself, or at `--torrent-service`. */
export function openTorrentService(options: TorrentServiceOptions): TorrentService {
  return new HttpTorrentService(options);
}

class HttpTorrentService implements TorrentService {
  readonly #options: TorrentServiceOptions;
  /** What is known of the host in this run: asked once, not once per layer. */
  #silent = false;

  constructor(options: TorrentServiceOptions) {
    this.#options = options;
  }

  async torrent(blob: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { service, repository, silentHosts } = this.#options;
    const base = service ?? (await repository.requester.base(signal));
    const none: TorrentAnswer = { kind: 'none', reason: `${base.host} serves no torrents` };
    // Named by the user it is asked again, whatever was remembered.
    this.#silent ||= service === undefined && (await silentHosts.isSilent(base.host));
    if (this.#silent) return none;
    const wait = Math.max(0, Math.min(LONGEST_WAIT_SECONDS, Math.ceil(waitSeconds)));
    const url = this.#torrentUrl(base, blob, wait);
    const question = { accept: TORRENT_TYPE, headersTimeoutMs: wait * 1000 + ANSWER_MARGIN_MS };
    const { answer, authorization } = await this.#ask(base, url, question, signal);
    const read = await readTorrentAnswer(answer, url, signal);
    switch (read.kind) {
      case 'refused':
        throw this.#refusal(url, `the torrent of ${shortDigest(blob.digest)}`, authorization);
      case 'no-service':
        if (!read.isPassing) {
          this.#silent = true;
          if (service === undefined) await silentHosts.remember(base.host);
        }
        return none;
      default:
        return read;
    }
  }

  async manifest(selector: string | Digest, signal: AbortSignal): Promise<ManifestDocument> {
    const { service, registry, name, insecure } = this.#options;
    const wanted = { repository: `${registry}/${name}`, selector };
    const none = new QuayctlError('not-found', `no torrent service has ${manifestName(wanted)}`);
    if (service === undefined) throw none;
    // What a tag means is believed of it, so whoever is on the way must not be able to answer in its place.
    if (service.protocol === 'http:' && !isLoopback(service.hostname) && !insecure) throw none;
    const url = new URL(`${pathOf(service)}/v2/${name}/manifests/${selector}`, service);
    const question = { accept: MANIFEST_TYPES.join(', '), headersTimeoutMs: ANSWER_MARGIN_MS };
    const { answer, authorization } = await this.#ask(service, url, question, signal);
    if (answer.statusCode === 200) return readManifestDocument(answer, url, wanted, signal);
    await dumpBody(answer);
    if (answer.statusCode !== 401 && answer.statusCode !== 403) throw none;
    throw this.#refusal(url, `the manifest of ${manifestName(wanted)}`, authorization);
  }

  #torrentUrl(base: URL, blob: Descriptor, waitSeconds: number): URL {
    const url = new URL(`${pathOf(base)}/c1/torrent/${this.#options.name}/blobs/${blob.digest}`, base);
    url.searchParams.set('ns', this.#options.registry);
    if (waitSeconds > 0) url.searchParams.set('wait', String(waitSeconds));
    return url;
  }

  async #ask(
    base: URL,
    url: URL,
    { accept, headersTimeoutMs }: { readonly accept: string; readonly headersTimeoutMs: number },
    signal: AbortSignal,
  ): Promise<{ answer: HttpAnswer; authorization: string | undefined }> {
    const { http, service } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const authorization = await this.#authorization(base, signal);
      const headers = { accept, ...(authorization === undefined ? {} : { authorization }) };
      const send = (): Promise<HttpAnswer> => http.request(url, { headers, headersTimeoutMs, signal });
      // A registry that is asked on the off-chance is not insisted upon.
      const answer = await (service === undefined ? send() : withPatience(url, signal, send));
      if (answer.statusCode !== 401 || attempt === 2) return { answer, authorization };
      if (!(await this.#learn(answer, base, authorization, signal))) return { answer, authorization };
      await dumpBody(answer);
    }
  }

  /**
   * To the registry itself what the registry is shown. To another host only a Bearer token that the registry's token
   * server made for this repository, never a password or a token of the user's own (but with --send-credentials), and
   * nothing at all in the clear.
   */
  async #authorization(base: URL, signal: AbortSignal): Promise<string | undefined> {
    const { insecure, sendCredentials, repository } = this.#options;
    const { authorizer } = repository;
    if (!(await this.#isRegistry(base, signal))) {
      if (base.protocol === 'http:' && !isLoopback(base.hostname) && !insecure) return undefined;
      const isOwn = authorizer.scheme === 'basic' || authorizer.credential?.kind === 'registry-token';
      if (isOwn && !sendCredentials) return undefined;
    }
    return authorizer.header(base, signal);
  }

  /**
   * Whether a 401 can be answered. A service on another host is not believed about where a password goes: the
   * registry itself is asked for its challenge.
   */
  async #learn(
    answer: HttpAnswer,
    base: URL,
    sent: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { authorizer, requester } = this.#options.repository;
    if (await this.#isRegistry(base, signal)) return authorizer.learn(answer, sent);
    if (authorizer.scheme !== undefined) return false;
    await requester.introduce(signal);
    return (await this.#authorization(base, signal)) !== undefined;
  }

  async #isRegistry(base: URL, signal: AbortSignal): Promise<boolean> {
    const { repository, service } = this.#options;
    if (service === undefined) return true;
    try {
      return (await repository.requester.base(signal)).origin === base.origin;
    } catch (error) {
      // A registry that is down must not keep the service from being asked.
      if (isQuayctlError(error, 'unreachable')) return false;
      throw error;
    }
  }

  #refusal(url: URL, what: string, authorization: string | undefined): QuayctlError {
    const { registry, repository, service, insecure } = this.#options;
    const { credential, scheme } = repository.authorizer;
    if (
      service === undefined ||
      authorization !== undefined ||
      (credential === undefined && scheme === undefined)
    ) {
      return unauthorized(registry, what, credential !== undefined);
    }
    const isClear = url.protocol === 'http:' && !isLoopback(url.hostname) && !insecure;
    return new QuayctlError('unauthorized', `${url.host} wants to know who asks for ${what}`, {
      hint: isClear
        ? 'nothing is shown to it over plain HTTP; --insecure allows that'
        : `--send-credentials gives it the password for ${registry}`,
    });
  }
}

/** Of a service that does not stand at the root of its host. */
function pathOf(base: URL): string {
  return base.pathname.replace(/\/+$/, '');
}
