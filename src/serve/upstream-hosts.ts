import type { RequestContext } from '../http-server/request-context.ts';
import type { Upstream } from './upstream/upstream.ts';

/**
 * By which registry hosts a reference means this service's upstream: those of the upstream, the operator's aliases,
 * and the service's own, for it serves the upstream's images under its own name as well.
 */
export function namesOf(
  upstream: Upstream,
  aliases: readonly string[],
  ownUrls: readonly string[],
): (host: string, exchange: RequestContext) => boolean {
  const names = new Set(
    [...upstream.hosts, ...aliases, ...ownUrls.map((url) => new URL(url).host)].map(canonical),
  );
  return (host, { request }) => {
    const name = canonical(host);
    return names.has(name) || name === canonical(request.headers.host ?? '');
  };
}

/** Host names know no case, and the ports of http and https are commonly left out. */
function canonical(host: string): string {
  return host.toLowerCase().replace(/:(?:80|443)$/, '');
}
