import { connect } from 'node:net';
import { plainAddress } from '../../base/ip-address.ts';
import { isLocalAddress } from '../../http/local-address.ts';
import { ClientLimiter } from '../../http-server/client-limiter.ts';
import { readJsonBody } from '../../http-server/request-body.ts';
import { refuse, sendJson, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { Shares } from '../../http-server/shares.ts';
import type { AnnounceTokens } from '../tokens/announce-tokens.ts';
import { NOT_STORED } from './waiting.ts';

/** `{"port": 6881}`. */
const MAX_BODY_BYTES = 1024;
/** Ports below belong to services of the machine itself. */
const LOWEST_PORT = 1024;
const HIGHEST_PORT = 65_535;
/** Attempts to connect back to one site. */
const DIALS = { perSecond: 1 / 60, burst: 1 };
/** Requests of one site, good or not, that are looked at. */
const REQUESTS = { perSecond: 1, burst: 20 };
/** Attempts under way, in all and for one site. */
const UNDER_WAY = { most: 64, mostEach: 1 };
/** The longest wait for the node to answer, milliseconds. */
const DIAL_MS = 5_000;
const RETRY_AFTER_SECONDS = '60';

export interface ReachableRouteOptions {
  readonly tokens: Pick<AnnounceTokens, 'holder'>;
  /** Whether an address is that of a trusted proxy. */
  readonly isProxy: (address: string) => boolean;
}

/** Why a node was not reached. */
type Unreachable = 'refused' | 'no answer' | 'no route';

/**
 * `POST /c1/reachable`: whether other nodes can connect to the one that asks (docs/protocol.md, "Connecting back"). One
 * attempt to connect to the address that the request came from, and to no other; nothing is sent on it.
 */
export function reachableRoute({ tokens, isProxy }: ReachableRouteOptions): Route {
  const requests = new ClientLimiter(REQUESTS);
  const dials = new ClientLimiter(DIALS);
  const underWay = new Shares(UNDER_WAY);
  return async (exchange: RequestContext): Promise<void> => {
    const { site, client: address, signal } = exchange;
    if (!requests.admit(site)) return refuseOften(exchange);
    if (!(await isHolder(exchange, tokens))) return;
    const body = await readJsonBody(exchange, MAX_BODY_BYTES);
    if (body === undefined) return;
    const { port } = body;
    if (typeof port !== 'number' || !isPort(port)) {
      const reason = `"port" is a whole number from ${LOWEST_PORT} to ${HIGHEST_PORT}`;
      return refuse(exchange, 400, 'UNSUPPORTED', reason, NOT_STORED);
    }
    const here = plainAddress(exchange.request.socket.localAddress ?? '');
    if (isProxy(address) || isLocalAddress(address) || address === here) {
      const reason = "this address is the service's own, or a proxy's: from there nothing is seen of the way";
      return refuse(exchange, 403, 'DENIED', reason, NOT_STORED);
    }
    const place = underWay.take(site);
    if (place === undefined) return refuseOften(exchange);
    try {
      if (!dials.admit(site)) return refuseOften(exchange);
      const failure = await dial(address, port, signal);
      const answer = { address, port, reachable: failure === undefined };
      sendJson(exchange, 200, failure === undefined ? answer : { ...answer, reason: failure }, NOT_STORED);
    } finally {
      place();
    }
  };
}

async function isHolder(exchange: RequestContext, tokens: ReachableRouteOptions['tokens']): Promise<boolean> {
  const [, token = ''] = /^bearer +(\S+) *$/i.exec(exchange.request.headers.authorization ?? '') ?? [];
  if ((await tokens.holder(token)) !== undefined) return true;
  refuse(exchange, 401, 'UNAUTHORIZED', 'an announce token of this service is wanted, as a Bearer token', {
    ...NOT_STORED,
    'www-authenticate': 'Bearer realm="quayctl"',
    connection: 'close',
  });
  return false;
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= LOWEST_PORT && port <= HIGHEST_PORT;
}

function refuseOften(exchange: RequestContext): void {
  const headers = { ...NOT_STORED, 'retry-after': RETRY_AFTER_SECONDS, connection: 'close' };
  refuse(exchange, 429, 'TOOMANYREQUESTS', 'one attempt a minute for each site', headers);
}

/** @returns undefined where there was a connection */
function dial(host: string, port: number, signal: AbortSignal): Promise<Unreachable | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (outcome: Unreachable | undefined): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(outcome);
    };
    const onAbort = (): void => end('no answer');
    const timer = setTimeout(() => end('no answer'), DIAL_MS);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => end(undefined));
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') end('refused');
      else end(code === 'ETIMEDOUT' ? 'no answer' : 'no route');
    });
  });
}
