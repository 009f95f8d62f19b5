import { Readable } from 'node:stream';
import { dumpBody, headerOf, type Http, type HttpAnswer } from '../http/http.ts';
import { DOCKER_HUB_NAMES, DOCKER_HUB_REGISTRY, isDockerHub } from '../image/docker-hub.ts';
import { followRedirects, isRedirect, type Hop } from '../http/redirect.ts';
import { ONLY_SOURCE } from '../registry/resuming.ts';
import { type Upstream, type UpstreamRequest } from './upstream.ts';
import type { AnswerHeaders, UpstreamAnswer } from '../http-server/request-context.ts';
import type { Resource } from '../http-server/path.ts';

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

  /** @throws QuayctlError `protocol` also for a redirect that leads nowhere, in circles, out of TLS or to this machine */
  async ask(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer> {
    const start = new URL(this.#origin + pathOf(request));
    const send = (hop: Hop): Promise<HttpAnswer> => this.#send(hop, request, signal);
    if (request.follow !== true) {
      return this.#passed(await send({ url: start, denyLocal: false, count: 0 }), start, request.method);
    }
    const rules = { limit: MAX_REDIRECTS, insecure: false };
    const { answer, url } = await followRedirects(this.#http, start, rules, send);
    return this.#passed(answer, url, request.method);
  }

  #send(
    { url, denyLocal, count }: Hop,
    { method, accept, range, ifNoneMatch, authorization, follow = false }: UpstreamRequest,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    // The storage URL is signed; the registry's credential is not shown to storage.
    const shown = count === 0 ? authorization : undefined;
    // What is read to its end is kept as the registry has it: another coding would be other bytes.
    const coding = follow ? 'identity' : undefined;
    const headers = present({
      authorization: shown,
      accept,
      range,
      'if-none-match': ifNoneMatch,
      'accept-encoding': coding,
    });
    const { host: registry } = new URL(this.#origin);
    const patience = method === 'GET' ? ONLY_SOURCE : {};
    return this.#http.request(url, { method, headers, denyLocal, registry, ...patience, signal });
  }

  async #passed(answer: HttpAnswer, url: URL, method: UpstreamRequest['method']): Promise<UpstreamAnswer> {
    const { statusCode: status, body } = answer;
    const passed = pick(answer.headers);
    const location = headerOf(answer, 'location');
    if (location !== undefined && URL.canParse(location, url.href)) {
      passed['location'] = new URL(location, url).href;
    }
    if (method === 'GET' && !isRedirect(status) && status !== 416) return { status, headers: passed, body };
    // Next to nothing is in these: read to their end, the connection can be used again. The body of
    // distribution's 416 is not even there, though its Content-Length is.
    await dumpBody(answer);
    if (method === 'GET') delete passed['content-length'];
    return { status, headers: passed, body: Readable.from([]) };
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
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Record<string, AnswerHeaders[string]> {
  return present(Object.fromEntries(PASSED_HEADERS.map((name) => [name, headers[name]])));
}

function present<T>(entries: Readonly<Record<string, T | undefined>>): Record<string, T> {
  const kept = Object.entries(entries).filter((entry): entry is [string, T] => entry[1] !== undefined);
  return Object.fromEntries(kept);
}
