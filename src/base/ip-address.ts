import { BlockList, isIP } from 'node:net';

/** The family of an address, as `net.BlockList` wants it. */
export function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/**
 * An address in one spelling: lower case, without a zone, and IPv4 as such where a dual-stack socket shows it mapped
 * into IPv6 (`::ffff:192.0.2.1`, or `::ffff:c000:201`; RFC 4291 section 2.5.5.2).
 */
export function plainAddress(address: string): string {
  const [bare = ''] = address.toLowerCase().split('%', 1);
  const mapped = /^(?:0{0,4}:){1,5}:?ffff:(.+)$/.exec(bare)?.[1];
  if (mapped === undefined || isIP(bare) !== 6) return bare;
  if (isIP(mapped) === 4) return mapped;
  const groups = mapped.split(':').map((group) => Number.parseInt(group, 16));
  const [high = 0, low = 0] = groups;
  return groups.length === 2 ? [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.') : bare;
}

/** The host of a URL without the brackets of IPv6 and without the dot of a fully qualified name, in lower case. */
export function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/(?<=.)\.$/, '');
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether an address is on loopback, mapped into IPv6 or not. Anything that is no address is not. */
export function isLoopbackAddress(address: string): boolean {
  const plain = plainAddress(address);
  return isIP(plain) !== 0 && LOOPBACK.check(plain, familyOf(plain));
}

/**
 * Whether the host of a URL is loopback by its spelling: `localhost`, or an address. Plain HTTP is allowed there, as
 * Docker allows it. Other names may lead anywhere.
 */
export function isLoopback(hostname: string): boolean {
  const bare = bareHost(hostname);
  return bare === 'localhost' || isLoopbackAddress(bare);
}
