import { Readable } from 'node:stream';
import { Agent, request as send, type Dispatcher } from 'undici';
import { QuayctlError } from '../../base/errors.ts';
import {
  isRedirect,
  type AnswerHeaders,
  type Resource,
  type Upstream,
  type UpstreamAnswer,
  type UpstreamRequest,
} from './upstream.ts';

/** A registry may look a manifest up in slow storage; beyond this it is taken for dead. */
const HEADERS_TIMEOUT_MS = 30_000;
const BODY_TIMEOUT_MS = 60_000;
/** Registries redirect once, to storage; storage may redirect to a region. */
const MAX_REDIRECTS = 4;
/** Some words of HTML. */
const MAX_REDIRECT_BODY = 16 * 1024;
/** Docker Hub's names for itself: references say docker.io, requests go to registry-1. */
const DOCKER_HUB_NAMES = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];
const DOCKER_HUB_ORIGIN = 'https://registry-1.docker.io';

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

export interface RegistryUpstreamOptions {
  /** `https://registry.example`, without a path. */
  readonly origin: URL;
  /** How requests leave: proxies, TLS. Stays the caller's to close. By default undici's own. */
  readonly dispatcher?: Dispatcher | undefined;
}

/** An OCI registry; questions go there raw, with the caller's Authorization, answers come back raw. */
export class RegistryUpstream implements Upstream {
  readonly hosts: readonly string[];
  readonly #origin: string;
  readonly #dispatcher: Dispatcher;
  readonly #own: Dispatcher | undefined;

  constructor({ origin, dispatcher }: RegistryUpstreamOptions) {
    const isDockerHub = DOCKER_HUB_NAMES.includes(origin.host);
    this.hosts = isDockerHub ? DOCKER_HUB_NAMES : [origin.host];
    this.#origin = isDockerHub ? DOCKER_HUB_ORIGIN : origin.origin;
    this.#own = dispatcher === undefined ? new Agent() : undefined;
    this.#dispatcher = dispatcher ?? (this.#own as Dispatcher);
  }

  async ask(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer> {
    let url = this.#origin + pathOf(request);
    let answer = await this.#send(url, request, request.authorization, signal);
    for (let hops = 0; request.follow === true && isRedirect(answer.status); hops++) {
      url = this.#redirect(url, answer, hops);
      // The storage URL is signed; the registry's credential is none of storage's business.
      answer = await this.#send(url, request, undefined, signal);
    }
    return answer;
  }

  async close(): Promise<void> {
    await this.#own?.destroy();
  }

  async #send(
    url: string,
    { method, accept, range, ifNoneMatch }: UpstreamRequest,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<UpstreamAnswer> {
    const headers = present({ authorization, accept, range, 'if-none-match': ifNoneMatch });
    try {
      const answer = await send(url, {
        method,
        headers,
        signal,
        dispatcher: this.#dispatcher,
        headersTimeout: HEADERS_TIMEOUT_MS,
        bodyTimeout: BODY_TIMEOUT_MS,
      });
      const location = answer.headers['location'];
      const passed = pick(answer.headers);
      if (typeof location === 'string' && URL.canParse(location, url)) {
        passed['location'] = new URL(location, url).href;
      }
      const { statusCode: status, body } = answer;
      if (method === 'GET' && !isRedirect(status)) return { status, headers: passed, body };
      // Where there is next to nothing in it, it is read to its end, and the connection can be used again.
      await body.dump({ limit: MAX_REDIRECT_BODY });
      if (method === 'GET') delete passed['content-length'];
      return { status, headers: passed, body: Readable.from([]) };
    } catch (error) {
      if (signal.aborted) throw error;
      throw new QuayctlError('unreachable', `upstream ${new URL(url).host} does not answer`, {
        cause: error,
      });
    }
  }

  /** @throws QuayctlError `protocol` for a redirect that leads nowhere, in circles, or out of TLS */
  #redirect(from: string, answer: UpstreamAnswer, hops: number): string {
    const location = answer.headers['location'];
    const target = typeof location === 'string' ? URL.parse(location) : null;
    const host = new URL(from).host;
    if (target === null) throw new QuayctlError('protocol', `${host} redirects without a usable Location`);
    if (hops >= MAX_REDIRECTS)
      throw new QuayctlError('protocol', `${host} redirects more than ${MAX_REDIRECTS} times`);
    const downgrade = from.startsWith('https:') && target.protocol !== 'https:';
    if (downgrade || !/^https?:$/.test(target.protocol)) {
      throw new QuayctlError(
        'protocol',
        `${host} redirects from https to ${target.protocol}//${target.host}`,
      );
    }
    return target.href;
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
