import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { dumpBody, type Http, type HttpAnswer, type HttpRequest } from '../http/http.ts';
import { isProxyFailure, isTlsRefusal } from '../http/network-error.ts';
import { DOCKER_HUB_REGISTRY, isDockerHub } from '../image/docker-hub.ts';
import { sendAuthorized, type AuthorizedAnswer } from './authorized.ts';
import type { Authorizer } from './authorizer.ts';
import { clockHint, skewOf } from './clocks.ts';
import { readRefusal, unauthorized } from './failures.ts';
import { withPatience } from './retry-after.ts';
import { followRedirects, type LocatedResponse } from '../http/redirect.ts';
import { SingleFlight } from '../base/single-flight.ts';

/** Redirects of one request. Registries redirect to storage, and storage at most to another region. */
const MAX_REDIRECTS = 5;
/** Whoever waits for longer than this is told what for. Beside peers no request takes so long. */
const SILENCE_MS = 20_000;

export interface RequesterOptions {
  readonly registry: string;
  readonly http: Http;
  readonly authorizer: Authorizer;
  readonly insecure: boolean;
  /** Where the scheme is known, it is not found out. */
  readonly base?: URL;
  /** Told, without secrets, when a host lets us wait. */
  readonly onWarning?: (message: string) => void;
}

export interface RegistryRequest {
  readonly headers?: Readonly<Record<string, string>>;
  /** For errors: `manifest 1.0 of team/app`. */
  readonly what: string;
  /** Milliseconds until the answer begins. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds without a byte after which the body is given up. */
  readonly stallTimeoutMs?: number;
  /** As of HttpRequest. */
  readonly denyLocal?: boolean;
  readonly signal: AbortSignal;
}

/** Requests to one registry: scheme, authorisation, patience, redirects. */
export class Requester {
  readonly #options: RequesterOptions;
  readonly #base = new SingleFlight<URL>();
  /** Of other hosts that answer the distribution API in the registry's place: what they give to strangers. */
  readonly #strangers = new Map<string, Authorizer>();

  constructor(options: RequesterOptions) {
    this.#options = options;
  }

  /** How often a question is sent, `--retries`; undefined: as each kind of question has it. */
  get attempts(): number | undefined {
    return this.#options.http.attempts;
  }

  /**
   * @param path from the root: `/v2/...`
   * @throws QuayctlError `unauthorized`, `unreachable`, `rate-limited`, `protocol`
   */
  async get(path: string, request: RegistryRequest): Promise<LocatedResponse> {
    return this.follow(new URL(path, await this.base(request.signal)), request);
  }

  /**
   * Any URL, and where it redirects to. The registry's Authorization goes to its own scheme, host and port alone, and there
   * to its API: storage below the same host takes signed URLs and refuses a second way of saying who asks.
   * @throws QuayctlError as `get`
   */
  async follow(start: URL, request: RegistryRequest): Promise<LocatedResponse> {
    const { http, insecure } = this.#options;
    const base = await this.base(request.signal);
    // What a manifest names is the registry's word, too.
    const denyLocal = request.denyLocal ?? (start.origin !== base.origin && !http.isLocal(base));
    return followRedirects(http, start, { limit: MAX_REDIRECTS, insecure, denyLocal }, async (hop) => {
      const { url, count } = hop;
      const sent = { ...request, denyLocal: hop.denyLocal };
      if (url.origin === base.origin && (count === 0 || isApi(url))) return this.#authorized(url, sent);
      if (isApi(url)) return this.#asStranger(url, sent);
      const answer = await this.#plain(url, sent);
      if (answer.statusCode !== 401 || url.origin !== base.origin) return answer;
      await dumpBody(answer);
      return this.#authorized(url, sent);
    });
  }

  /** One request without Authorization, patience or redirects: a storage URL known from before. */
  once(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    const { http, registry } = this.#options;
    return http.request(url, { ...request, registry });
  }

  /** Asks the registry how it wants to be asked, where it has not said so yet. @throws QuayctlError `unreachable` */
  async probe(signal: AbortSignal): Promise<void> {
    const url = new URL('/v2/', await this.base(signal));
    const answer = await this.#ping(url, { signal });
    if (answer.statusCode === 401) this.#options.authorizer.handleChallenge(url, answer, undefined);
  }

  /** `https://HOST`, or `http://HOST` where that is allowed and HTTPS is not spoken. Found out once. */
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
    // HTTPS is asked first, as docker does: a password must not go in the clear where TLS is spoken.
    if (!insecure && !isLoopback(secure.hostname)) return secure;
    if (await this.#speaks(secure, signal)) return secure;
    await this.#ping(new URL('/v2/', plain), { signal });
    return plain;
  }

  /** Whether TLS is spoken there. A certificate that is not trusted is an error. */
  async #speaks(secure: URL, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#ping(new URL('/v2/', secure), { signal });
      return true;
    } catch (error) {
      const isSilent = isQuayctlError(error, 'unreachable') && !isTlsRefusal(error);
      if (isSilent && !isProxyFailure(error)) return false;
      throw error;
    }
  }

  async #ping(url: URL, request: Pick<HttpRequest, 'denyLocal' | 'signal'>): Promise<HttpAnswer> {
    const { http, registry } = this.#options;
    const answer = await http.request(url, { ...request, registry });
    await dumpBody(answer);
    return answer;
  }

  async #authorized(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    const { authorizer, registry } = this.#options;
    const { answer, authorization } = await this.#challenged(authorizer, url, request);
    if (answer.statusCode !== 401 && answer.statusCode !== 403) return answer;
    const refusal = await readRefusal(answer, url, request.signal);
    const skews = { [registry]: skewOf(answer), 'its token server': authorizer.tokenServerSkewMs };
    const clocks = authorizer.scheme === 'bearer' ? clockHint(skews) : undefined;
    const { credential } = authorizer;
    const unasked =
      credential !== undefined && authorization === undefined
        ? `${url.host} refuses without asking for a login, so the credential for ${registry} was not shown to it`
        : undefined;
    throw unauthorized(registry, request.what, credential, refusal, clocks ?? unasked);
  }

  /**
   * A registry whose name leads to another host (a mirror's, a CDN's): no credential goes there, but a token that its
   * token server gives to anybody does.
   */
  async #asStranger(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    const known = this.#strangers.get(url.origin);
    const authorizer = known ?? this.#options.authorizer.forStrangerAt(url.host);
    this.#strangers.set(url.origin, authorizer);
    return (await this.#challenged(authorizer, url, request)).answer;
  }

  #challenged(
    authorizer: Authorizer,
    url: URL,
    request: RegistryRequest,
  ): Promise<AuthorizedAnswer<HttpAnswer>> {
    const { denyLocal = false, signal } = request;
    return sendAuthorized(authorizer, {
      url,
      signal,
      send: (authorization) =>
        this.#plain(url, request, authorization === undefined ? {} : { authorization }),
      head: (answer) => answer,
      drop: dumpBody,
      // `/v2/` itself has just been asked.
      ...(isApi(url) && url.pathname !== '/v2/'
        ? {
            ping: () =>
              this.#ping(new URL('/v2/', url), { denyLocal, signal }).catch((error: unknown) => {
                if (isQuayctlError(error, 'unreachable')) return undefined;
                throw error;
              }),
          }
        : {}),
    });
  }

  #plain(
    url: URL,
    request: RegistryRequest,
    more: Readonly<Record<string, string>> = {},
  ): Promise<HttpAnswer> {
    const { http, registry } = this.#options;
    const headers = { ...request.headers, ...more };
    const send = (): Promise<HttpAnswer> =>
      this.#toldOfSilence(url, http.request(url, { ...request, registry, headers }));
    return withPatience(url, request.signal, send, this.attempts);
  }

  /** A cache that first has to fetch the image itself says nothing for minutes. */
  async #toldOfSilence(url: URL, sent: Promise<HttpAnswer>): Promise<HttpAnswer> {
    const what = `${url.host} has not begun to answer for ${SILENCE_MS / 1000} s`;
    const timer = setTimeout(
      () =>
        this.#options.onWarning?.(`${what}; it may have to fetch the image itself first, and is waited for`),
      SILENCE_MS,
    );
    try {
      return await sent;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The distribution API, in distinction to storage and web pages below the same host. */
function isApi({ pathname }: URL): boolean {
  return pathname.startsWith('/v2/');
}
