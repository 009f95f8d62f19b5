import type { IncomingMessage } from 'node:http';
import { plainAddress } from '../base/ip-address.ts';
import type { RequestContext } from '../http-server/request-context.ts';

/** By which registry hosts references mean this service's upstream. Host names know no case. */
export interface UpstreamNames {
  /**
   * True for names of the upstream, the operator's aliases and the service's own URLs. What a client writes into its
   * Host header is no such name: it must not decide what an image is called.
   */
  readonly includes: (host: string) => boolean;
  /** Whether a question is about this upstream: each `?ns=` is one of its names, or the address that was connected to. */
  readonly meansUpstream: (exchange: RequestContext) => boolean;
}

export interface NamedUpstream {
  /** The host of the upstream itself; undefined for an OCI layout. */
  readonly hosts: readonly string[];
  /** `serve --alias`. */
  readonly aliases: readonly string[];
  /** Where the service listens, and its public URL: it serves the upstream's images under its own name as well. */
  readonly ownUrls: readonly string[];
}

export function upstreamNames({ hosts, aliases, ownUrls }: NamedUpstream): UpstreamNames {
  const names = new Set([...hosts, ...aliases, ...ownUrls.map((url) => new URL(url).host)].map(canonical));
  const includes = (host: string): boolean => names.has(canonical(host));
  return {
    includes,
    meansUpstream: ({ query, request }) =>
      query.getAll('ns').every((host) => includes(host) || connectedTo(request).includes(canonical(host))),
  };
}

/** The service's own address in this connection, which the kernel tells and nobody can make up. */
function connectedTo({ socket }: IncomingMessage): readonly string[] {
  const { localAddress, localPort } = socket;
  if (localAddress === undefined || localPort === undefined) return [];
  const address = plainAddress(localAddress);
  const hosts = [address.includes(':') ? `[${address}]` : address];
  if (address === '127.0.0.1' || address === '::1') hosts.push('localhost');
  return hosts.map((host) => canonical(`${host}:${localPort}`));
}

/** The ports of http and https are commonly left out. */
function canonical(host: string): string {
  return host.toLowerCase().replace(/:(?:80|443)$/, '');
}
