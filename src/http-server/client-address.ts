import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { familyOf, plainAddress } from '../base/ip-address.ts';
import { QuayctlError } from '../base/errors.ts';

/** More hops than any chain of proxies has. */
const MAX_HOPS = 32;

/** Tells the client of a request from the proxies that passed it on. */
export interface ClientAddresses {
  readonly clientOf: (request: IncomingMessage) => string;
  /** Whether the other end of a connection is a trusted proxy. */
  readonly isProxy: (address: string) => boolean;
}

/**
 * Where a request comes from: the connection's other end, or, where that is a trusted proxy, what it says of its own
 * (X-Forwarded-For, read from the right, as only its last entries were written by proxies that are ours).
 * @param trustedProxies `192.0.2.0/24`, `2001:db8::/32`, or single addresses
 * @throws QuayctlError `usage`
 */
export function clientAddresses(trustedProxies: readonly string[]): ClientAddresses {
  const isTrusted = addressRanges('--trusted-proxy', trustedProxies);
  const clientOf: ClientAddresses['clientOf'] = ({ socket, headers }) => {
    let client = plainAddress(socket.remoteAddress ?? '');
    const header = headers['x-forwarded-for'];
    const hops = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',').slice(-MAX_HOPS);
    while (isTrusted(client)) {
      const before = plainAddress(withoutPort(hops.pop()?.trim() ?? ''));
      if (isIP(before) === 0) break;
      client = before;
    }
    return client;
  };
  return { clientOf, isProxy: isTrusted };
}

/**
 * A set of addresses.
 * @param flag that named them, for the error
 * @param ranges `192.0.2.0/24`, `2001:db8::/32`, or single addresses
 * @throws QuayctlError `usage`
 */
export function addressRanges(flag: string, ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) addRange(list, range, flag);
  return (address) => isIP(address) !== 0 && list.check(address, familyOf(address));
}

function addRange(list: BlockList, range: string, flag: string): void {
  const [address = '', bits, ...more] = range.split('/');
  const most = isIP(address) === 6 ? 128 : 32;
  const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (isIP(address) === 0 || more.length > 0 || !(prefix <= most)) {
    throw new QuayctlError('usage', `${flag}: not an address range: ${JSON.stringify(range.slice(0, 80))}`, {
      hint: 'write 192.0.2.0/24, 2001:db8::/32 or a single address',
    });
  }
  list.addSubnet(address, prefix, familyOf(address));
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. */
function withoutPort(text: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
}
