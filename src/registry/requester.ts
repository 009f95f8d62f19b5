import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, isLoopback, type Http, type HttpAnswer } from '../http/http.ts';
import { isPassing, isPlainHttpAnswer } from '../http/network-error.ts';
import { DOCKER_HUB_REGISTRY, isDockerHub } from '../image/docker-hub.ts';
import type { Authorizer } from './authorizer.ts';
import { clockHint, skewOf } from './clocks.ts';
import { readRefusal, unauthorized } from './failures.ts';
import { withPatience } from './retry-after.ts';
import { isRedirect, redirectTarget } from '../http/redirect.ts';
import { SingleFlight } from '../base/single-flight.ts';

/** Registries redirect to storage, storage at most to a region of its own. */
const MAX_REDIRECTS = 5;

export interface RequesterOptions {
  readonly registry: string;
  readonly http: Http;
  readonly authorizer: Authorizer;
  readonly insecure: boolean;
  /** Where the scheme is known, it is not found out. */
  readonly base?: URL;
}

export interface RegistryRequest {
  readonly headers?: Readonly<Record<string, string>>;
  /** For errors: `manifest 1.0 of team/app`. */
  readonly what: string;
  /** Milliseconds until the answer begins. */
  readonly headersTimeoutMs?: number;
  /** As of HttpRequest. */
  readonly denyLocal?: boolean;
  readonly signal: AbortSignal;
}

/** An answer and the URL that gave it, which for a blob is the storage's. */
export interface LocatedResponse {
  readonly answer: HttpAnswer;
  /** May be signed: never shown but for its host. */
  readonly url: URL;
  /** Whether it must not be on this machine. */
  readonly denyLocal: boolean;
}

/** Requests to one registry: scheme, authorisation, patience, redirects. */
export class Requester {
  readonly #options: RequesterOptions;
  readonly #base = new SingleFlight<URL>();

  constructor(options: RequesterOptions) {
    this.#options = options;
  }

  /**
   * @param path from the root: `/v2/...`
   * @throws QuayctlError `unauthorized`, `unreachable`, `rate-limited`, `protocol`
   */
  async get(path: string, request: RegistryRequest): Promise<LocatedResponse> {
    return this.follow(new URL(path, await this.base(request.signal)), request);
  }

  /** Any URL, and where it redirects to. Authorization goes to the registry's own scheme, host and port alone. */
  async follow(start: URL, request: RegistryRequest): Promise<LocatedResponse> {
    const { http } = this.#options;
    const { origin, hostname } = await this.base(request.signal);
    let url = start;
    // Only a host on this machine may lead to one on it; a manifest's own places are the registry's word, too.
    let denyLocal = start.origin !== origin && !(await http.resolvesToLocal(hostname));
    for (let hops = 0; ; hops++) {
      const answer = await (url.origin === origin
        ? this.#authorized(url, request)
        : this.#plain(url, { ...request, denyLocal }));
      if (!isRedirect(answer.statusCode)) return { answer, url, denyLocal };
      await dumpBody(answer);
      if (hops === MAX_REDIRECTS) throw new QuayctlError('protocol', `${start.host} redirects without end`);
      denyLocal ||= !(await http.resolvesToLocal(url.hostname));
      url = redirectTarget(url, headerOf(answer, 'location'), this.#options.insecure);
    }
  }

  /** One request without Authorization, patience or redirects: a storage URL known from before. */
  once(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    return this.#options.http.request(url, request);
  }

  /** Lets the registry say how it wants to be asked, where it has not yet. @throws QuayctlError `unreachable` */
  async introduce(signal: AbortSignal): Promise<void> {
    const url = new URL('/v2/', await this.base(signal));
    const answer = await this.#options.http.request(url, { signal });
    if (answer.statusCode === 401) this.#options.authorizer.learn(answer, undefined);
    await dumpBody(answer);
  }

  /** `https://HOST`, or `http://HOST` where that is allowed and spoken. Found out once. */
  base(signal: AbortSignal): Promise<URL> {
    return this.#base.get((first) => this.#findBase(first), signal);
  }

  async #findBase(signal: AbortSignal): Promise<URL> {
    const { registry, insecure, base } = this.#options;
    if (base !== undefined) return base;
    if (isDockerHub(registry)) return new URL(`https://${DOCKER_HUB_REGISTRY}`);
    const secure = URL.parse(`https://${registry}`);
    const plain = URL.parse(`http://${registry}`);
    if (secure === null || plain === null) {
      throw new QuayctlError('usage', `not a registry: ${JSON.stringify(registry.slice(0, 100))}`);
    }
    // --insecure may be meant for the torrent service alone, so HTTPS is not given up.
    if (insecure) return this.#firstThatSpeaks(plain, secure, signal);
    if (isLoopback(secure.hostname)) return this.#firstThatSpeaks(secure, plain, signal);
    return secure;
  }

  async #firstThatSpeaks(first: URL, second: URL, signal: AbortSignal): Promise<URL> {
    const status = await this.#probe(first, signal);
    if (status !== undefined && (first.protocol === 'https:' || !isElsewhere(status))) return first;
    try {
      const other = await this.#options.http.request(new URL('/v2/', second), { signal });
      await dumpBody(other);
    } catch (error) {
      if (status === undefined || !isQuayctlError(error, 'unreachable')) throw error;
      return first;
    }
    return second;
  }

  /** The status of `/v2/`; undefined where the scheme is not spoken. A certificate that is not trusted is an error. */
  async #probe(base: URL, signal: AbortSignal): Promise<number | undefined> {
    try {
      const answer = await this.#options.http.request(new URL('/v2/', base), { signal });
      await dumpBody(answer);
      return answer.statusCode;
    } catch (error) {
      const isUnspoken = isPlainHttpAnswer(error) || isPassing(error);
      if (isQuayctlError(error, 'unreachable') && isUnspoken) return undefined;
      throw error;
    }
  }

  async #authorized(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    const { authorizer, registry } = this.#options;
    const { signal, what } = request;
    // No challenge yet, then a challenge, then an expired token: the third 401 is final.
    for (let attempt = 0; ; attempt++) {
      const authorization = await authorizer.header(url, signal);
      const answer = await this.#plain(url, request, authorization === undefined ? {} : { authorization });
      if (answer.statusCode !== 401 && answer.statusCode !== 403) return answer;
      if (answer.statusCode === 401 && attempt < 2 && authorizer.learn(answer, authorization)) {
        await dumpBody(answer);
        continue;
      }
      const refusal = await readRefusal(answer, url, signal);
      const skews = { [registry]: skewOf(answer), 'its token server': authorizer.tokenServerSkewMs };
      const clocks = authorizer.scheme === 'bearer' ? clockHint(skews) : undefined;
      throw unauthorized(registry, what, authorizer.credential !== undefined, refusal, clocks);
    }
  }

  #plain(
    url: URL,
    request: RegistryRequest,
    more: Readonly<Record<string, string>> = {},
  ): Promise<HttpAnswer> {
    const headers = { ...request.headers, ...more };
    return withPatience(url, request.signal, () => this.#options.http.request(url, { ...request, headers }));
  }
}

/** Where TLS is spoken, Go and nginx answer 400 to plain HTTP, others lead to HTTPS; a proxy answers 5xx for nobody. */
function isElsewhere(status: number): boolean {
  return status === 400 || status >= 500 || isRedirect(status);
}
