import { lookup as systemLookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { QuayctlError } from '../base/errors.ts';

/** The addresses of a host name. Tests bring their own. @throws an error with the system's code */
export type Lookup = (hostname: string) => Promise<readonly { address: string; family: number }[]>;

export const lookupBySystem: Lookup = (hostname) => systemLookup(hostname, { all: true });

/** This machine itself, and the link that only its own services and those of its cloud are on (RFC 6890). */
const LOCAL = new BlockList();
LOCAL.addSubnet('0.0.0.0', 8, 'ipv4');
LOCAL.addSubnet('127.0.0.0', 8, 'ipv4');
LOCAL.addSubnet('169.254.0.0', 16, 'ipv4');
LOCAL.addAddress('::', 'ipv6');
LOCAL.addAddress('::1', 'ipv6');
LOCAL.addSubnet('fe80::', 10, 'ipv6');

function isLocalAddress(address: string): boolean {
  return LOCAL.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** Whether any address of a host is local. A name that cannot be looked up is not. @param hostname of a URL */
export async function resolvesToLocal(hostname: string, lookup: Lookup): Promise<boolean> {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) !== 0) return isLocalAddress(bare);
  const found = await lookup(bare).catch(() => []);
  return found.some(({ address }) => isLocalAddress(address));
}

/**
 * For a place that another host has named: its name is looked up once, for the check and for the connection, so that
 * it cannot lead elsewhere the second time.
 * @throws QuayctlError `protocol`
 */
export function denyLocal(lookup: Lookup): Lookup {
  return async (hostname) => {
    const found = await lookup(hostname);
    if (found.some(({ address }) => isLocalAddress(address))) throw refusal(hostname);
    return found;
  };
}

/** @throws QuayctlError `protocol` for a literal address, of which no lookup is made */
export function refuseLocal(url: URL): void {
  const bare = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) !== 0 && isLocalAddress(bare)) throw refusal(url.hostname);
}

function refusal(hostname: string): QuayctlError {
  return new QuayctlError('protocol', `a redirect from another host leads to this machine, at ${hostname}`);
}
