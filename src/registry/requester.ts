import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, isLoopback, type Http, type HttpAnswer } from '../base/http.ts';
import { isPlainHttpAnswer } from '../base/network-error.ts';
import { type Authorizer, unauthorized } from './authorizer.ts';
import { withPatience } from './patience.ts';

/** Registries redirect to storage, storage at most to a region of its own. */
const MAX_REDIRECTS = 5;
const DOCKER_HUB = 'docker.io';
const DOCKER_HUB_HOST = 'registry-1.docker.io';

export interface RequesterOptions {
  readonly registry: string;
  readonly http: Http;
  readonly authorizer: Authorizer;
  readonly insecure: boolean;
}

export interface RegistryRequest {
  readonly headers?: Readonly<Record<string, string>>;
  /** For errors: `manifest 1.0 of team/app`. */
  readonly what: string;
  readonly signal: AbortSignal;
}

/** An answer and the URL that gave it, which for a blob is the storage's. */
export interface Located {
  readonly answer: HttpAnswer;
  /** May be signed: never shown. */
  readonly url: URL;
}

/** Requests to one registry: scheme, authorisation, patience, redirects. */
export class Requester {
  readonly #options: RequesterOptions;
  #base: Promise<URL> | undefined;

  constructor(options: RequesterOptions) {
    this.#options = options;
  }

  /** @param path from the root: `/v2/...` @throws QuayctlError `unauthorized`, `unreachable`, `rate-limited`, `protocol` */
  async get(path: string, request: RegistryRequest): Promise<Located> {
    const url = new URL(path, await this.base(request.signal));
    const answer = await this.#authorized(url, request);
    return this.#follow(url, answer, request);
  }

  /** A storage URL that was redirected to before; no Authorization goes there. */
  async getStorage(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    return withPatience(url, request.signal, () =>
      this.#options.http.request(url, { headers: request.headers ?? {}, signal: request.signal }),
    );
  }

  /** `https://HOST`, or `http://HOST` where that is allowed and spoken. Found out once. */
  base(signal: AbortSignal): Promise<URL> {
    this.#base ??= this.#findBase(signal).catch((error: unknown) => {
      this.#base = undefined;
      throw error;
    });
    return this.#base;
  }

  async #findBase(signal: AbortSignal): Promise<URL> {
    const { registry, http, insecure } = this.#options;
    const host = registry === DOCKER_HUB ? DOCKER_HUB_HOST : registry;
    const secure = new URL(`https://${host}`);
    if (insecure) return new URL(`http://${host}`);
    if (!isLoopback(secure.hostname)) return secure;
    try {
      await dumpBody(await http.request(new URL('/v2/', secure), { signal }));
      return secure;
    } catch (error) {
      if (isQuayctlError(error, 'unreachable') && isPlainHttpAnswer(error)) return new URL(`http://${host}`);
      throw error;
    }
  }

  async #authorized(url: URL, request: RegistryRequest): Promise<HttpAnswer> {
    const { authorizer, registry, http } = this.#options;
    const { signal, what } = request;
    // No challenge yet, then a challenge, then an expired token: the third 401 is final.
    for (let attempt = 0; ; attempt++) {
      const authorization = await authorizer.header(url, signal);
      const headers = { ...request.headers, ...(authorization === undefined ? {} : { authorization }) };
      const answer = await withPatience(url, signal, () => http.request(url, { headers, signal }));
      if (answer.statusCode !== 401 && answer.statusCode !== 403) return answer;
      await dumpBody(answer);
      const again = answer.statusCode === 401 && attempt < 2 && authorizer.learn(answer, authorization);
      if (!again) throw unauthorized(registry, what, authorizer.credential !== undefined);
    }
  }

  async #follow(from: URL, first: HttpAnswer, request: RegistryRequest): Promise<Located> {
    let [url, answer] = [from, first];
    for (let hops = 0; isRedirect(answer.statusCode); hops++) {
      const location = headerOf(answer, 'location');
      await dumpBody(answer);
      if (hops === MAX_REDIRECTS) throw new QuayctlError('protocol', `${from.host} redirects without end`);
      url = redirectTarget(url, location, this.#options.insecure);
      answer =
        url.host === from.host && url.protocol === from.protocol
          ? await this.#authorized(url, request)
          : await this.getStorage(url, request);
    }
    return { answer, url };
  }
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

/** Where a redirect may lead: the one place for such rules. */
function redirectTarget(from: URL, location: string | undefined, insecure: boolean): URL {
  const url = location === undefined ? null : URL.parse(location, from.href);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new QuayctlError('protocol', `${from.host} redirects to nowhere that can be followed`);
  }
  if (from.protocol === 'https:' && url.protocol === 'http:' && !insecure && !isLoopback(url.hostname)) {
    throw new QuayctlError('protocol', `${from.host} redirects from HTTPS to plain HTTP at ${url.host}`, {
      hint: '--insecure allows that',
    });
  }
  return url;
}
