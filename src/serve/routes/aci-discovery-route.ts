import { ACI_KEY_PATH } from './aci-key-route.ts';
import { send, type RequestContext, type Route } from '../../http-server/request-context.ts';

/** Names of appc hold no port, and none of these characters stands for anything in HTML. */
const HOST = /^[a-z0-9]+(?:[-.][a-z0-9]+)*$/;

export interface AciDiscoveryOptions {
  /** By which the upstream is known: `quay.io`, `registry.example:5000`. */
  readonly names: readonly string[];
  /** Without a slash at its end. */
  readonly publicUrl: string;
}

/** True for a request of appc discovery, which may be for any path. */
export function isAciDiscovery({ query }: RequestContext): boolean {
  return query.get('ac-discovery') === '1';
}

/**
 * `?ac-discovery=1` (appc spec, "Meta Discovery"): where the ACIs of every name are, and the key that signed them. Only
 * the names that the operator gave stand there: a page must not say, for whatever Host it was asked with, that this
 * service signs that host's images.
 */
export function aciDiscoveryRoute({ names, publicUrl }: AciDiscoveryOptions): Route {
  return (exchange: RequestContext): void => {
    const hosts = [...new Set(names.map(withoutPort))].filter((host) => HOST.test(host));
    const tags = hosts.flatMap((host) => [
      `<meta name="ac-discovery" content="${host} ${publicUrl}/c1/aci/{name}/{version}/{ext}/{os}/{arch}/">`,
      `<meta name="ac-discovery-pubkeys" content="${host} ${publicUrl}/${ACI_KEY_PATH}">`,
    ]);
    const page = ['<!DOCTYPE html>', '<title>appc discovery</title>', ...tags, ''].join('\n');
    const headers = { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' };
    send(exchange, 200, headers, page);
  };
}

function withoutPort(host: string): string {
  return host.toLowerCase().replace(/:(?:80|443)$/, '');
}
