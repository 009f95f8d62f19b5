import type { SwarmClient, SwarmClientOptions } from './swarm-client.ts';

/** A BitTorrent client for this process; opens its port at the first join. */
export function openSwarmClient(options: SwarmClientOptions): SwarmClient {
  throw new Error(`in progress ${options.lowerPort}`);
}
