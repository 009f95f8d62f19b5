import { lookup as systemLookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { QuayctlError } from '../base/errors.ts';
import { bareHost, familyOf, plainAddress } from '../base/ip-address.ts';

/** The addresses of a host name. Tests bring their own. @throws an error with the system's code */
export type Lookup = (hostname: string) => Promise<readonly { address: string; family: number }[]>;

export const lookupBySystem: Lookup = (hostname) => systemLookup(hostname, { all: true });

/**
 * Addresses that only this machine reaches, and those of its cloud's metadata service, which gives credentials to
 * whoever asks from here. IPv4 ranges are refused in every IPv6 form that carries them, too (mapped, compatible,
 * NAT64 of RFC 6052 and 8215, 6to4).
 */
const LOCAL = new BlockList();
for (const [address, bits] of [
  ['0.0.0.0', 8], // this host (RFC 6890)
  ['127.0.0.0', 8], // loopback
  ['169.254.0.0', 16], // the link; metadata of most clouds
  ['100.100.100.200', 32], // metadata of Alibaba Cloud
  ['168.63.129.16', 32], // metadata of Azure
  ['192.0.0.192', 32], // metadata of Oracle Cloud
] as const) {
  LOCAL.addSubnet(address, bits, 'ipv4');
  for (const prefix of ['::', '64:ff9b::', '64:ff9b:1::']) {
    LOCAL.addSubnet(`${prefix}${address}`, 96 + bits, 'ipv6');
  }
  const hex = Buffer.from(address.split('.').map(Number)).toString('hex');
  LOCAL.addSubnet(`2002:${hex.slice(0, 4)}:${hex.slice(4)}::`, 16 + bits, 'ipv6');
}
LOCAL.addAddress('::', 'ipv6');
LOCAL.addAddress('::1', 'ipv6');
LOCAL.addSubnet('fe80::', 10, 'ipv6'); // the link
LOCAL.addAddress('fd00:ec2::254', 'ipv6'); // metadata of AWS
LOCAL.addAddress('fd20:ce::254', 'ipv6'); // metadata of Google Cloud

/** Whether an address is this machine, its link, or the metadata service of its cloud. */
export function isLocalAddress(address: string): boolean {
  const plain = plainAddress(address);
  return isIP(plain) !== 0 && LOCAL.check(plain, familyOf(plain));
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
  if (isLocalAddress(bareHost(url.hostname))) throw refusal(url.hostname);
}

function refusal(hostname: string): QuayctlError {
  return new QuayctlError(
    'protocol',
    `another host leads to this machine or its link, at ${hostname}: refused`,
  );
}
