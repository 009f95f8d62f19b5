import type { IncomingMessage, ServerResponse } from 'node:http';
import { isQuayctlError, type ErrorCode } from '../base/errors.ts';
import { addressGroup } from '../base/address-group.ts';
import type { Release } from '../base/turns.ts';
import { Shares, type ShareLimits } from './shares.ts';
import { refuse, type RequestContext, type Route } from './request-context.ts';
import { pathComponents } from './path.ts';
import { whenOver } from './when-over.ts';

/** Longest path in a log line. */
const MAX_LOGGED_PATH = 300;
/** The Retry-After of a service that has too much to do. */
const BUSY_SECONDS = '5';

/** For one-line logs. Holds no secret: the path comes without its query. */
export interface RequestEvent {
  readonly kind: 'request';
  readonly client: string;
  readonly method: string;
  readonly path: string;
  /** First component of the path, or `none`. */
  readonly route: string;
  readonly status: number;
  /** Of the answer's body. */
  readonly bytes: number;
  readonly milliseconds: number;
  /** The client left before its answer was complete. */
  readonly aborted: boolean;
}

export type RouterListener = (
  event: RequestEvent | { readonly kind: 'warning'; readonly message: string },
) => void;

export interface RouterOptions {
  /** By the first component of the path: `v2`, `c1`, `announce`. */
  readonly routes: ReadonlyMap<string, Route>;
  /** What takes POST and nothing else, by its whole path: `c1/reachable`. */
  readonly posts?: ReadonlyMap<string, Route>;
  /** Looked at first: a route for what is asked by query, whatever the path. */
  readonly routeByQuery?: (exchange: RequestContext) => Route | undefined;
  readonly listener: RouterListener;
  readonly clientOf: (request: IncomingMessage) => string;
  readonly closing: AbortSignal;
  /** Whose requests are answered whatever else is under way: cheap ones, by which others see whether we are alive. */
  readonly unbounded?: ReadonlySet<string>;
}

/** Requests under way, in all and of one site: a few kilobytes each. Beyond it the answer is 503 with Retry-After. */
const UNDER_WAY: ShareLimits = { most: 2048, mostEach: 1024 };
/**
 * Requests that wait for something that is being made, in all and of one site. Beyond it torrents are answered with
 * 202 at once.
 */
const HELD: ShareLimits = { most: 1024, mostEach: 512 };

/** Gives every request to its route, and turns what the route throws into an answer. */
export function router({
  routes,
  posts = new Map(),
  routeByQuery,
  listener,
  clientOf,
  closing,
  unbounded = new Set(),
}: RouterOptions) {
  const underWay = new Shares(UNDER_WAY);
  const held = new Shares(HELD);
  return (request: IncomingMessage, response: ServerResponse): void => {
    const startedAt = performance.now();
    const left = new AbortController();
    const client = clientOf(request);
    const site = addressGroup(client);
    const [rawPath = '', ...queries] = (request.url ?? '').split('?');
    const components = pathComponents(rawPath) ?? [];
    let place: Release | undefined;
    whenOver(response, () => {
      left.abort();
      place?.();
      listener({
        kind: 'request',
        client: client === '' ? 'unknown' : client,
        route: components[0] !== undefined && routes.has(components[0]) ? components[0] : 'none',
        method: request.method ?? '',
        path: rawPath.slice(0, MAX_LOGGED_PATH),
        status: response.statusCode,
        bytes: bodyBytes(response),
        milliseconds: Math.round(performance.now() - startedAt),
        aborted: !response.writableFinished,
      });
    });
    // A client that resets the connection is told by `close`.
    response.on('error', () => undefined);
    const rawQuery = queries.join('?');
    const exchange: RequestContext = {
      request,
      response,
      method: request.method === 'HEAD' ? 'HEAD' : 'GET',
      client,
      site,
      held,
      components,
      query: new URLSearchParams(rawQuery),
      rawQuery,
      signal: left.signal,
      closing,
    };
    const word = components[0] ?? '';
    if (!unbounded.has(word)) {
      place = underWay.take(site);
      if (place === undefined) return refuseBusy(exchange);
    }
    const post = posts.get(components.join('/'));
    const route = post ?? routeByQuery?.(exchange) ?? routes.get(word);
    void answer(exchange, route, post === undefined ? READ_ONLY : POST_ONLY, listener);
  };
}

const READ_ONLY = ['GET', 'HEAD'];
const POST_ONLY = ['POST'];

async function answer(
  exchange: RequestContext,
  route: Route | undefined,
  methods: readonly string[],
  listener: RouterListener,
): Promise<void> {
  const { request, response } = exchange;
  try {
    response.setHeader('x-content-type-options', 'nosniff');
    // Even where the rest of the path means nothing: this host serves torrents.
    if (/^\/c1(?:[/?]|$)/.test(request.url ?? '')) response.setHeader('quay-torrent', '1');
    if (!methods.includes(request.method ?? '')) return refuseMethod(exchange, methods);
    if (route === undefined) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path');
    await route(exchange);
  } catch (error) {
    fail(exchange, error, listener);
  }
}

function refuseBusy(exchange: RequestContext): void {
  const headers = { 'retry-after': BUSY_SECONDS };
  refuse(exchange, 503, 'TOOMANYREQUESTS', 'too many requests are under way for this site', headers);
}

function refuseMethod(exchange: RequestContext, methods: readonly string[]): void {
  const message = methods === READ_ONLY ? 'this service is read-only' : 'this path takes POST only';
  // The body of what is refused is not read.
  refuse(exchange, 405, 'UNSUPPORTED', message, {
    allow: methods.join(', '),
    connection: 'close',
  });
}

/** Statuses for what a route may throw; whatever else is a bug of ours. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  unauthorized: 403,
  'not-found': 404,
  limit: 503,
  'disk-full': 503,
  unsupported: 501,
  unreachable: 502,
  protocol: 502,
  verification: 502,
};

function fail(exchange: RequestContext, error: unknown, listener: RouterListener): void {
  const { response, signal } = exchange;
  if (signal.aborted) return;
  if (response.headersSent) {
    // Half an answer cannot be taken back, only be seen to be incomplete.
    response.destroy();
    return;
  }
  const status = isQuayctlError(error) ? STATUS[error.code] : undefined;
  if (isQuayctlError(error) && status !== undefined) {
    const headers = status === 503 ? { 'retry-after': BUSY_SECONDS } : {};
    refuse(exchange, status, status < 500 ? 'DENIED' : 'UNAVAILABLE', error.message, headers);
    return;
  }
  const message = error instanceof Error ? error.message : String(error);
  listener({ kind: 'warning', message: `${exchange.components[0] ?? ''}: ${message}` });
  refuse(exchange, 500, 'UNKNOWN', 'internal error');
}

function bodyBytes(response: ServerResponse): number {
  const length = Number(response.getHeader('content-length'));
  return response.writableFinished && Number.isFinite(length) ? length : 0;
}
