import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { addressGroup } from '../base/address-group.ts';
import { plainAddress } from '../base/ip-address.ts';
import type { ShareLimits } from './shares.ts';

/**
 * Bounds the connections of a server by site. Where all places are taken, a connection from a site that has fewer of
 * them takes the place of the oldest one of the site that has most, so that no crowd shuts out the others.
 * @param isProxy true for addresses behind which many clients are; these are not counted
 */
export function limitConnections(
  server: Server,
  { most, mostEach }: ShareLimits,
  isProxy: (address: string) => boolean,
): void {
  /** The oldest connection of a site stands first. */
  const sites = new Map<string, Set<Socket>>();
  let count = 0;
  server.on('connection', (socket: Socket) => {
    const address = plainAddress(socket.remoteAddress ?? '');
    if (isProxy(address)) return;
    const site = addressGroup(address);
    const mine = sites.get(site) ?? new Set<Socket>();
    if (mine.size >= mostEach || (count >= most && !makeRoom(sites, mine.size + 1))) {
      socket.destroy();
      return;
    }
    sites.set(site, mine.add(socket));
    count++;
    socket.once('close', () => {
      count--;
      mine.delete(socket);
      if (mine.size === 0) sites.delete(site);
    });
  });
}

/** @returns false where no site has more connections than `size` */
function makeRoom(sites: ReadonlyMap<string, ReadonlySet<Socket>>, size: number): boolean {
  let largest: ReadonlySet<Socket> = new Set();
  for (const each of sites.values()) if (each.size > largest.size) largest = each;
  const [oldest] = largest;
  if (oldest === undefined || largest.size <= size) return false;
  oldest.destroy();
  return true;
}
