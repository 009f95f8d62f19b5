import { plainAddress } from './ip-address.ts';

/** 16-bit groups of an IPv6 address. */
const GROUPS = 8;
/** The first 64 bits: the network that a provider gives to one customer (RFC 6177). */
const SITE_GROUPS = 4;

/**
 * The site that an address belongs to, as far as limits go: an IPv4 address stands for itself, an IPv6 address for its
 * /64 network, since everybody has 2^64 addresses of one.
 */
export function addressGroup(address: string): string {
  const plain = plainAddress(address);
  if (!plain.includes(':')) return plain;
  const [before = '', after = ''] = plain.split('::', 2);
  const first = before === '' ? [] : before.split(':');
  const last = after === '' ? [] : after.split(':');
  const zeros = Array.from({ length: Math.max(0, GROUPS - first.length - last.length) }, () => '0');
  return [...first, ...zeros, ...last].slice(0, SITE_GROUPS).join(':');
}
