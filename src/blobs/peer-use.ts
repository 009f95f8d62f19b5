import type { BlobOutcome } from './transfer-ledger.ts';

/** Whether the bytes of a pull came from peers, and if they did not, what stood in the way. */
export type PeerState =
  /** At least some bytes came from peers. */
  | 'used'
  /** Nothing had to be fetched. */
  | 'not-needed'
  /** Only small blobs were fetched, which the registry gives faster than a swarm can be joined. */
  | 'small'
  /** No tracker named another node. */
  | 'alone'
  /** Peers were connected, and had nothing that was still wanted. */
  | 'idle'
  /** Peers are known, and no connection to any of them was made. */
  | 'unreached'
  /** The torrent service is still making the piece hashes. */
  | 'hashing'
  /** The host that was asked for torrents is no torrent service. */
  | 'no-service'
  /** The torrent service has no torrent of this. */
  | 'no-torrent'
  /** The torrent service does not answer, or not in a way that is understood. */
  | 'unavailable'
  /** The torrent service wants a credential that it was not shown. */
  | 'refused';

/** In the receipt as `p2p`. `reason` is one clause for people. */
export interface PeerUse {
  readonly state: PeerState;
  readonly reason: string;
}

/** A PeerUse that the user can do something about. */
export interface Obstacle extends PeerUse {
  readonly hint?: string | undefined;
}

/** The line that a user reads of an obstacle. */
export function obstacleText({ reason, hint }: Obstacle): string {
  return `no bytes come from peers: ${reason}${hint === undefined ? '' : ` (${hint})`}`;
}

/**
 * How peers were used by a pull that is over.
 * @param obstacle what kept torrents from being found, if anything did
 */
export function peerUseOf(outcomes: Iterable<BlobOutcome>, obstacle: Obstacle | undefined): Obstacle {
  const total = { fromPeers: 0, fromRegistry: 0, swarms: 0, known: 0, reached: 0, isOverdue: false };
  for (const outcome of outcomes) {
    total.fromPeers += outcome.fromPeers;
    total.fromRegistry += outcome.fromRegistry;
    const { meeting } = outcome;
    if (meeting === undefined) continue;
    total.swarms++;
    total.known = Math.max(total.known, meeting.known);
    total.reached += meeting.reached;
    total.isOverdue ||= meeting.isOverdue;
  }
  if (total.fromPeers > 0) return { state: 'used', reason: 'peers gave bytes' };
  if (total.fromRegistry === 0) return { state: 'not-needed', reason: 'nothing had to be fetched' };
  if (total.known > 0 && total.reached === 0) return unreached(total.known, total.isOverdue);
  if (obstacle !== undefined) return obstacle;
  if (total.reached > 0)
    return { state: 'idle', reason: 'the peers that were connected had nothing that was still wanted' };
  if (total.swarms > 0) return { state: 'alone', reason: 'no tracker named another node' };
  return { state: 'small', reason: 'only small blobs were fetched, which the registry gives at once' };
}

function unreached(known: number, isOverdue: boolean): Obstacle {
  const peers = known === 1 ? '1 peer is known' : `${known} peers are known`;
  if (!isOverdue)
    return { state: 'unreached', reason: `${peers}, and the pull was over before one was connected` };
  return {
    state: 'unreached',
    reason: `${peers}, and none could be reached`,
    hint: 'nodes need 6881-6889/tcp, or what --lower-port and --upper-port say, from each other: open it in their firewalls',
  };
}
