import { isIP } from 'node:net';
import type { Http } from '../../http/http.ts';
import { isLocalAddress } from '../../http/local-address.ts';

/** Names of peers that are looked up for one answer; trackers name peers by address (BEP 3 allows names). */
const MAX_NAMES = 20;

/**
 * The peers that a tracker on another machine may name: not this machine, its link, or a metadata service, to which a
 * node would then make connections. Names are looked up here, so that they cannot mean another address when dialled.
 * @param peers `HOST:PORT`
 */
export async function peersElsewhere(peers: readonly string[], http: Http): Promise<string[]> {
  let names = 0;
  const kept = await Promise.all(
    peers.map(async (peer) => {
      const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(peer) ?? [];
      if (isIP(host) !== 0) return isLocalAddress(host) ? undefined : peer;
      if (++names > MAX_NAMES) return undefined;
      const address = await http.resolve(host, { denyLocal: true }).catch(() => undefined);
      if (address === undefined) return undefined;
      return `${address.includes(':') ? `[${address}]` : address}:${port}`;
    }),
  );
  return kept.filter((peer) => peer !== undefined);
}
