import { Readable } from 'node:stream';
import { QuayctlError } from '../../base/errors.ts';
import { dumpBody, type Http } from '../../http/http.ts';
import { DOCKER_HUB_NAMES, DOCKER_HUB_REGISTRY, isDockerHub } from '../../image/docker-hub.ts';
import { isRedirect } from '../../http/redirect.ts';
import { type Upstream, type UpstreamRequest } from './upstream.ts';
import type { AnswerHeaders, UpstreamAnswer } from '../../http-server/request-context.ts';
import type { Resource } from '../../http-server/path.ts';

/** Registries redirect once, to storage; storage may redirect to a region. */
const MAX_REDIRECTS = 4;

/** Headers that reach a caller; what belongs to one connection, cookies and the like do not. */
const PASSED_HEADERS = [
  'accept-ranges',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'docker-content-digest',
  'docker-distribution-api-version',
  'etag',
  'last-modified',
  'link',
  'location',
  'ratelimit-limit',
  'ratelimit-remaining',
  'retry-after',
  'warning',
  'www-authenticate',
];

/** An OCI registry; questions go there raw, with the caller's Authorization, answers come back raw. */
export class RegistryUpstream implements Upstream {
  readonly hosts: readonly string[];
  readonly #origin: string;
  readonly #http: Http;

  /** @param origin `https://registry.example`, without a path */
  constructor(origin: URL, http: Http) {
    const isHub = isDockerHub(origin.host);
    this.hosts = isHub ? DOCKER_HUB_NAMES : [origin.host];
    this.#origin = isHub ? `https://${DOCKER_HUB_REGISTRY}` : origin.origin;
    this.#http = http;
  }

  async ask(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer> {
    let url = new URL(this.#origin + pathOf(request));
    let answer = await this.#send(url, request, { authorization: request.authorization }, signal);
    let denyLocal = false;
    for (let hops = 0; request.follow === true && isRedirect(answer.status); hops++) {
      // Only a host on this machine may lead to one on it.
      denyLocal ||= !(await this.#http.resolvesToLocal(url.hostname));
      url = this.#redirect(url, answer, hops);
      // The storage URL is signed; the registry's credential is none of storage's business.
      answer = await this.#send(url, request, { denyLocal }, signal);
    }
    return answer;
  }

  async #send(
    url: URL,
    { method, accept, range, ifNoneMatch }: UpstreamRequest,
    { authorization, denyLocal = false }: { authorization?: string | undefined; denyLocal?: boolean },
    signal: AbortSignal,
  ): Promise<UpstreamAnswer> {
    const headers = present({ authorization, accept, range, 'if-none-match': ifNoneMatch });
    const answer = await this.#http.request(url, { method, headers, denyLocal, signal });
    const { statusCode: status, body } = answer;
    const passed = pick(answer.headers);
    const location = answer.headers['location'];
    if (typeof location === 'string' && URL.canParse(location, url.href)) {
      passed['location'] = new URL(location, url).href;
    }
    if (method === 'GET' && !isRedirect(status) && status !== 416) return { status, headers: passed, body };
    // Next to nothing is in these: read to their end, the connection can be used again. The body of
    // distribution's 416 is not even there, though its Content-Length is.
    await dumpBody(answer);
    if (method === 'GET') delete passed['content-length'];
    return { status, headers: passed, body: Readable.from([]) };
  }

  /** @throws QuayctlError `protocol` for a redirect that leads nowhere, in circles, or out of TLS */
  #redirect(from: URL, answer: UpstreamAnswer, hops: number): URL {
    const location = answer.headers['location'];
    const target = typeof location === 'string' ? URL.parse(location) : null;
    const { host } = from;
    if (target === null) throw new QuayctlError('protocol', `${host} redirects without a usable Location`);
    if (hops >= MAX_REDIRECTS)
      throw new QuayctlError('protocol', `${host} redirects more than ${MAX_REDIRECTS} times`);
    const downgrade = from.protocol === 'https:' && target.protocol !== 'https:';
    if (downgrade || !/^https?:$/.test(target.protocol)) {
      throw new QuayctlError(
        'protocol',
        `${host} redirects from https to ${target.protocol}//${target.host}`,
      );
    }
    return target;
  }
}

function pathOf({ resource, query }: UpstreamRequest): string {
  return resourcePath(resource) + (query === undefined || query === '' ? '' : `?${query}`);
}

function resourcePath(resource: Resource): string {
  switch (resource.kind) {
    case 'base':
      return '/v2/';
    case 'tags':
      return `/v2/${resource.repository}/tags/list`;
    case 'manifest':
      return `/v2/${resource.repository}/manifests/${resource.selector}`;
    case 'blob':
      return `/v2/${resource.repository}/blobs/${resource.digest}`;
  }
}

function pick(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, AnswerHeaders[string]> {
  return present(Object.fromEntries(PASSED_HEADERS.map((name) => [name, headers[name]])));
}

function present<T>(entries: Readonly<Record<string, T | undefined>>): Record<string, T> {
  const kept = Object.entries(entries).filter((entry): entry is [string, T] => entry[1] !== undefined);
  return Object.fromEntries(kept);
}
