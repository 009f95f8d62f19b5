import { setTimeout as delay } from 'node:timers/promises';
import { refuse, type RequestContext, type Route } from '../http-server/request-context.ts';
import type { StatusSource } from './status.ts';

const EVERY_MS = 2000;
/** The plot of a day moves less often: it is all sent again. Turns. */
const HISTORY_EVERY = 5;
/** Streams at one time: windows that operators have open. */
const MAX_STREAMS = 32;
/** Rows that a page shows at once; `/api/v1/swarms` and `/api/v1/nodes` give all. */
const ROWS = { limit: 100, offset: 0 };
const MAX_QUERY = 300;

/**
 * `/api/v1/events[?swarm=ID][&query=TEXT]`: server-sent events (HTML standard, section 9.2), named `status`, `swarms`,
 * `nodes`, `history` and, with `swarm`, `swarm`; each carries the JSON of the path of that name. What has not changed is
 * not sent again, but for `status`.
 */
export function eventsRoute(source: StatusSource): Route {
  let streams = 0;
  return async (exchange: RequestContext): Promise<void> => {
    if (streams >= MAX_STREAMS) {
      return refuse(exchange, 503, 'TOOMANYREQUESTS', 'too many pages are open', { 'retry-after': '5' });
    }
    streams++;
    const stopWatching = source.watch();
    try {
      await stream(source, exchange);
    } finally {
      streams--;
      stopWatching();
    }
  };
}

async function stream(source: StatusSource, { response, query, signal, closing }: RequestContext) {
  const page = { ...ROWS, query: (query.get('query') ?? '').slice(0, MAX_QUERY) };
  const opened = query.get('swarm');
  const end = AbortSignal.any([signal, closing]);
  const sent = new Map<string, string>();
  const send = (name: string, value: unknown): void => {
    const text = JSON.stringify(value);
    if (sent.get(name) === text) return;
    sent.set(name, text);
    response.write(`event: ${name}\ndata: ${text}\n\n`);
  };
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // So that a proxy passes on what comes.
    'x-accel-buffering': 'no',
  });
  response.write('retry: 2000\n\n');
  for (let turn = 0; !end.aborted; turn++) {
    // A reader that has not taken the last turn is not given another one.
    if (!response.writableNeedDrain) {
      send('status', await source.status());
      if (turn % HISTORY_EVERY === 0) send('history', source.history());
      send('swarms', source.swarms(page));
      send('nodes', source.nodes({ ...ROWS, query: '' }));
      if (opened !== null) send('swarm', source.swarm(opened) ?? null);
    }
    await delay(EVERY_MS, undefined, { signal: end }).catch(() => undefined);
  }
  response.end();
}
