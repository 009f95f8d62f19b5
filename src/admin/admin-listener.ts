import { createHash, timingSafeEqual } from 'node:crypto';
import { bareHost, isLoopback } from '../base/ip-address.ts';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { listen, type HttpServer, type ListenPlace } from '../http-server/server.ts';
import { refuse, type RequestContext, type Route } from '../http-server/request-context.ts';
import { router, type RouterListener } from '../http-server/router.ts';

/** `serve --admin-listen`, `--admin-token-file`. */
export interface AdminOptions {
  readonly place: ListenPlace;
  /** The Bearer token of the operator. It is needed where others than this machine's users can connect. */
  readonly token?: string | undefined;
  /** By which the user named the place; `--admin-listen` where nothing is said. */
  readonly flag?: string;
}

export interface AdminListener {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A port of its own for what tells of others: metrics, who pulls what. It has nothing of the public port's, and holds
 * its own routes, by the first component of the path.
 * @param routes may be added to until it is closed
 * @throws QuayctlError `usage` for a place that others can reach without a token; `port`
 */
export async function startAdmin(
  { place, token, flag = '--admin-listen' }: AdminOptions,
  routes: ReadonlyMap<string, Route>,
  listener: RouterListener,
): Promise<AdminListener> {
  if (!('path' in place) && token === undefined && !isLoopback(place.host)) {
    throw new QuayctlError('usage', `${flag} ${place.host}: others than this machine could read it`, {
      hint: 'give --admin-token-file FILE, or listen on 127.0.0.1 or unix:PATH',
    });
  }
  const closing = new AbortController();
  const isOperator = token === undefined ? hasLocalName(place) : hasToken(token);
  const answer = router({
    routes,
    routeByQuery: (exchange) => (isOperator(exchange) ? undefined : refuseStranger),
    listener,
    clientOf: ({ socket }) => socket.remoteAddress ?? 'local',
    closing: closing.signal,
  });
  const server: HttpServer = await listen({ place, isProxy: () => false }, () => answer);
  return {
    url: server.url,
    close: async () => {
      closing.abort();
      await server.close();
    },
  };
}

/**
 * The listener that the flags ask for. Where the place is not the operator's choice and taken, by another program on this
 * machine, there is none.
 * @throws QuayctlError as startAdmin
 */
export async function openAdmin(
  options: (AdminOptions & { readonly isDefault?: boolean }) | undefined,
  routes: ReadonlyMap<string, Route>,
  listener: RouterListener,
): Promise<AdminListener | undefined> {
  if (options === undefined) return undefined;
  try {
    return await startAdmin(options, routes, listener);
  } catch (error) {
    if (options.isDefault !== true || !isQuayctlError(error, 'port')) throw error;
    const message = `${error.message}: no admin listener, no /metrics; choose a place with --admin-listen`;
    listener({ kind: 'warning', message });
    return undefined;
  }
}

const refuseStranger: Route = (exchange) =>
  refuse(exchange, 401, 'UNAUTHORIZED', 'the admin listener is for the operator', {
    // A browser asks its user for a password then, and shows it to the event stream, too.
    'www-authenticate': ['Bearer realm="quayctl"', 'Basic realm="quayctl", charset="UTF-8"'],
  });

/** As Bearer token, or as a password, whatever the user name. Compared as hashes, so that the time tells nothing. */
function hasToken(token: string): (exchange: RequestContext) => boolean {
  const wanted = sha256(token);
  return ({ request }) => {
    const [, scheme = '', value = ''] = /^(\S+) +(\S+) *$/.exec(request.headers.authorization ?? '') ?? [];
    const pair = Buffer.from(value, 'base64').toString('utf8');
    const isBasic = scheme.toLowerCase() === 'basic' && pair.includes(':');
    const shown = isBasic ? pair.slice(pair.indexOf(':') + 1) : /^bearer$/i.test(scheme) ? value : '';
    return timingSafeEqual(sha256(shown), wanted);
  };
}

/**
 * A page in the operator's browser may ask loopback, too, under a name of its own that leads there (DNS rebinding): such a
 * request names that host.
 */
function hasLocalName(place: ListenPlace): (exchange: RequestContext) => boolean {
  return ({ request }) => {
    const host = URL.parse(`http://${request.headers.host ?? ''}`)?.hostname;
    return 'path' in place || (host !== undefined && isLoopback(bareHost(host)));
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
