import { refuse, sendJson, type RequestContext, type Route } from '../../http-server/request-context.ts';
import type { AnnounceTokens } from '../tokens/announce-tokens.ts';

/** Far below the hour for which a new key only stands here. */
const CACHED = { 'cache-control': 'public, max-age=300' };

/** `/.well-known/jwks.json` (RFC 7517): with these keys an external tracker checks announce tokens. */
export function keySetRoute(tokens: AnnounceTokens): Route {
  return async (exchange: RequestContext): Promise<void> => {
    if (exchange.components[1] !== 'jwks.json' || exchange.components.length !== 2) {
      return refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /.well-known/');
    }
    sendJson(exchange, 200, await tokens.jwks(), CACHED);
  };
}
