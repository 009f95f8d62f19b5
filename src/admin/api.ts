import { refuse, sendJson, type RequestContext, type Route } from '../http-server/request-context.ts';
import { eventsRoute } from './event-stream.ts';
import type { PageQuery, StatusSource } from './status.ts';

/** Rows of a list in one answer. */
const MAX_ROWS = 1000;
const DEFAULT_ROWS = 100;
const MAX_OFFSET = 1_000_000;
const MAX_QUERY = 300;
/** It tells of others: no cache keeps it. */
const NOT_STORED = { 'cache-control': 'no-store' };

/** `/api/v1/...` (docs/api.md): what the page shows, for programs. */
export function apiRoute(source: StatusSource): Route {
  const events = eventsRoute(source);
  return async (exchange: RequestContext): Promise<void> => {
    const [, version, what, id, more] = exchange.components;
    const page = pageQuery(exchange.query);
    if (version !== 'v1' || more !== undefined) return refuseUnknown(exchange);
    if (page === undefined) {
      return refuse(exchange, 400, 'UNSUPPORTED', 'limit and offset are whole numbers', NOT_STORED);
    }
    if (what === 'swarms' && id !== undefined) {
      const swarm = source.swarm(id);
      return swarm === undefined ? refuseUnknown(exchange) : sendJson(exchange, 200, swarm, NOT_STORED);
    }
    if (id !== undefined) return refuseUnknown(exchange);
    switch (what) {
      case 'status':
        return sendJson(exchange, 200, await source.status(), NOT_STORED);
      case 'history':
        return sendJson(exchange, 200, source.history(), NOT_STORED);
      case 'swarms':
        return sendJson(exchange, 200, source.swarms(page), NOT_STORED);
      case 'nodes':
        return sendJson(exchange, 200, source.nodes(page), NOT_STORED);
      case 'events':
        return events(exchange);
      default:
        return refuseUnknown(exchange);
    }
  };
}

function refuseUnknown(exchange: RequestContext): void {
  refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /api/v1/', NOT_STORED);
}

/** Undefined for numbers that are none. */
function pageQuery(query: URLSearchParams): PageQuery | undefined {
  const limit = Number(query.get('limit') ?? DEFAULT_ROWS);
  const offset = Number(query.get('offset') ?? 0);
  if (!Number.isInteger(limit) || limit < 0 || !(offset >= 0 && offset <= MAX_OFFSET)) return undefined;
  return {
    limit: Math.min(limit, MAX_ROWS),
    offset: Math.floor(offset),
    query: (query.get('query') ?? '').slice(0, MAX_QUERY),
  };
}
