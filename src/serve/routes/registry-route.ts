import { passThrough, refuse, type Exchange, type Route } from '../http/exchange.ts';
import { resource } from '../http/path.ts';
import { isRedirect, type Upstream } from '../upstream/upstream.ts';

/** `/v2/`: the upstream itself, read-only. Redirects to storage are the client's to follow, as with the upstream. */
export function registryRoute(upstream: Upstream): Route {
  return async (exchange: Exchange): Promise<void> => {
    const { request, method, components, rawQuery, signal } = exchange;
    const wanted = resource(components.slice(1));
    if (wanted === undefined) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /v2/');
    const { authorization, accept, range } = request.headers;
    const answer = await upstream.ask(
      {
        method,
        resource: wanted,
        authorization,
        accept,
        range,
        ifNoneMatch: request.headers['if-none-match'],
        query: wanted.kind === 'tags' ? rawQuery : undefined,
      },
      signal,
    );
    await passThrough(
      exchange,
      answer,
      isRedirect(answer.status) ? { 'referrer-policy': 'no-referrer' } : {},
    );
  };
}
