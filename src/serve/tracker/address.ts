import { BlockList, isIP } from 'node:net';
import { familyOf, isLoopbackAddress, plainAddress } from '../../base/ip-address.ts';

/** Addresses at which no peer can be: this host, this link, everybody, nobody. */
const UNREACHABLE = new BlockList();
UNREACHABLE.addSubnet('0.0.0.0', 8, 'ipv4');
UNREACHABLE.addSubnet('169.254.0.0', 16, 'ipv4');
UNREACHABLE.addSubnet('224.0.0.0', 3, 'ipv4');
UNREACHABLE.addAddress('::', 'ipv6');
UNREACHABLE.addSubnet('fe80::', 10, 'ipv6');
UNREACHABLE.addSubnet('ff00::', 8, 'ipv6');

/**
 * The address under which a peer is listed: the one that its announce came from. Another one (BEP 3, `ip`) is believed only
 * of `isBelieved` sources; else whoever has a token could have all nodes of a swarm dial third parties. Names are not
 * looked up.
 * @param source seen through trusted proxies
 */
export function peerAddress(
  source: string,
  named: string | undefined,
  isBelieved: (source: string) => boolean,
): string {
  if (named === undefined || isIP(named) === 0 || !isBelieved(source)) return source;
  const address = plainAddress(named);
  if (UNREACHABLE.check(address, familyOf(address))) return source;
  return isLoopbackAddress(address) && !isLoopbackAddress(source) ? source : address;
}
