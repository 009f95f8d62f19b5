import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, isLoopback, type Http, type HttpAnswer } from '../base/http.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import { unauthorized } from './failures.ts';
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

/** What is asked for: where below `/c1/`, and how people call it. */
interface Wanted {
  readonly path: string;
  readonly what: string;
}

class HttpTorrentService implements TorrentService {
  readonly #options: TorrentServiceOptions;
  /** What is known of the host in this run: asked once, not once per layer. */
  #silent = false;

  constructor(options: TorrentServiceOptions) {
    this.#options = options;
  }

  torrent({ digest }: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { name } = this.#options;
    const what = `the torrent of ${shortDigest(digest)}`;
    return this.#torrent({ path: `torrent/${name}/blobs/${digest}`, what }, waitSeconds, signal);
  }

  squashed(manifest: Digest, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { name } = this.#options;
    const what = `the squashed image of ${shortDigest(manifest)}`;
    return this.#torrent({ path: `squash/${name}/${manifest}`, what }, waitSeconds, signal);
  }

  async #torrent(wanted: Wanted, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { service, repository, silentHosts } = this.#options;
    const base = service ?? (await repository.requester.base(signal));
    const none: TorrentAnswer = { kind: 'none', reason: `${base.host} serves no torrents` };
    // Named by the user it is asked again, whatever was remembered.
    this.#silent ||= service === undefined && (await silentHosts.isSilent(base.host));
    if (this.#silent) return none;
    const wait = Math.max(0, Math.min(LONGEST_WAIT_SECONDS, Math.ceil(waitSeconds)));
    const url = this.#torrentUrl(base, wanted, wait);
    const { answer, authorization } = await this.#ask(base, url, wait, signal);
    const read = await readTorrentAnswer(answer, url, signal);
    switch (read.kind) {
      case 'refused':
        throw this.#refusal(url, wanted, authorization);
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

  #torrentUrl(base: URL, { path }: Wanted, waitSeconds: number): URL {
    const prefix = base.pathname.replace(/\/+$/, '');
    const url = new URL(`${prefix}/c1/${path}`, base);
    url.searchParams.set('ns', this.#options.registry);
    if (waitSeconds > 0) url.searchParams.set('wait', String(waitSeconds));
    return url;
  }

  async #ask(
    base: URL,
    url: URL,
    waitSeconds: number,
    signal: AbortSignal,
  ): Promise<{ answer: HttpAnswer; authorization: string | undefined }> {
    const { http, service } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const authorization = await this.#authorization(base, signal);
      const headers = { accept: TORRENT_TYPE, ...(authorization === undefined ? {} : { authorization }) };
      const headersTimeoutMs = waitSeconds * 1000 + ANSWER_MARGIN_MS;
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

  #refusal(url: URL, { what }: Wanted, authorization: string | undefined): QuayctlError {
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
