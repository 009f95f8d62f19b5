import { plainAddress } from '../../base/ip-address.ts';

const GROUPS = 8;
/** What one customer of a provider has to himself: the first 64 bits (RFC 6177). */
const SITE_GROUPS = 4;

/** Whose address it is, as far as limits go: IPv4 as such, of IPv6 the network, since everybody has 2^64 of these. */
export function addressGroup(address: string): string {
  const plain = plainAddress(address);
  if (!plain.includes(':')) return plain;
  const [before = '', after = ''] = plain.split('::', 2);
  const first = before === '' ? [] : before.split(':');
  const last = after === '' ? [] : after.split(':');
  const zeros = Array.from({ length: Math.max(0, GROUPS - first.length - last.length) }, () => '0');
  return [...first, ...zeros, ...last].slice(0, SITE_GROUPS).join(':');
}
