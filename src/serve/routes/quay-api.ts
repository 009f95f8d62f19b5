import type { Digest } from '../../image/digest.ts';
import { refuse, send, type RequestContext, type Route } from '../../http-server/request-context.ts';
import type { InfoHash } from '../../metainfo/info-hash.ts';
import type { SwarmName } from '../observe/observed.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import { NOT_STORED } from './waiting.ts';

export const TORRENT_TYPE = 'application/x-bittorrent';

/** @param name what the torrent is of */
export type OnTorrent = (infoHash: InfoHash, name: SwarmName, exchange: RequestContext) => void;

/** `/c1/WORD/...`, by word. */
export function c1Route(routes: Readonly<Record<string, Route>>): Route {
  return (exchange) => {
    const word = exchange.components[1] ?? '';
    const route = Object.hasOwn(routes, word) ? routes[word] : undefined;
    return route === undefined ? refuseUnknownPath(exchange) : route(exchange);
  };
}

export function refuseUnknownPath(exchange: RequestContext): void {
  refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /c1/', NOT_STORED);
}

/**
 * Refuses questions whose `?ns=` names another registry with 404. To be called before Authorization is read: a
 * credential for another registry must not reach this upstream.
 * @returns whether the exchange goes on
 */
export function admitsNamespace(names: UpstreamNames, exchange: RequestContext): boolean {
  if (names.meansUpstream(exchange)) return true;
  const reason = 'this service stands in front of another registry (serve --alias HOST adds a name)';
  refuse(exchange, 404, 'NAME_UNKNOWN', reason, NOT_STORED);
  return false;
}

/** @param isCached the service has the blob itself: reading it there costs the upstream nothing */
export function sendTorrent(
  exchange: RequestContext,
  digest: Digest,
  torrent: Uint8Array,
  isCached = false,
): void {
  const headers = {
    ...NOT_STORED,
    'content-type': TORRENT_TYPE,
    'content-disposition': `attachment; filename="${digest.replace(':', '-')}.torrent"`,
    ...(isCached ? { 'quay-blob': 'cached' } : {}),
  };
  send(exchange, 200, headers, torrent);
}
