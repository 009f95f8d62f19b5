/** One node that takes part in the work. */
export interface Member {
  /** peerTag */
  readonly tag: number;
  /** Pieces that it has. */
  readonly count: number;
}

/** What a node knows of the swarm when it looks for its own place in it. */
export interface Standing {
  readonly self: Member;
  /** Connected peers that speak claims and miss pieces. */
  readonly others: readonly Member[];
  /** Nodes that miss pieces, this one included, as the tracker counts them; undefined: not known. */
  readonly swarmSize: number | undefined;
  readonly pieceCount: number;
  /** How often the work has stood still. */
  readonly stalls: number;
}

/**
 * So many nodes fetch from the registry; the others take everything from them. Enough to fill the pipe while one or
 * two are slow; with more, each piece comes later. Chosen, not measured against others: scripts/bench/simulate --fetchers.
 */
export const FETCHERS = 8;
/** So many pieces there are for each of them: more who fetch at once would have all pieces come late, and none to give on. */
const PIECES_EACH = 8;
const FEWEST = 2;
/** A node is behind when it has this much less than the median: pieces, or this part of all pieces if that is more. */
const BEHIND_PIECES = 8;
const BEHIND_PART = 16;
/** A swarm that is larger than a node's connections by this factor is known to it only in part. */
const PART = 1.5;
/** With fewer peers than this a node is not at its bound: what a tracker counts beyond them are dead, or out of reach. */
const MANY = 20;
const TAGS = 2 ** 32;

/**
 * Whether this node is one of the few that fetch. Decides without communication: a node that is connected to most of the
 * swarm ranks itself among its peers; in a larger swarm it is chosen with a probability, its tag being the random number.
 */
export function isFetcher(standing: Standing, fetchers: number = fetchersFor(standing.pieceCount)): boolean {
  const { self, others, swarmSize = 0, stalls } = standing;
  const places = fetchers * 2 ** stalls;
  const least = leastCount(standing);
  if (self.count < least) return false;
  if (swarmSize > PART * (others.length + 1)) return self.tag * swarmSize < places * TAGS;
  let before = 0;
  for (const { tag, count } of others) if (tag < self.tag && count >= least) before++;
  return before < places;
}

function fetchersFor(pieceCount: number): number {
  return Math.min(FETCHERS, Math.max(FEWEST, Math.ceil(pieceCount / PIECES_EACH)));
}

/** Whether there are nodes to which this one is not connected, so that it relays what it hears. */
export function hasStrangers({ others, swarmSize = 0 }: Standing): boolean {
  return swarmSize > others.length + 1;
}

/** So many others miss pieces: those that are connected, or, in a swarm that is known in part, all. */
export function seekersOf({ others, swarmSize = 0 }: Standing): number {
  const isPart = others.length >= MANY && swarmSize > PART * (others.length + 1);
  return isPart ? swarmSize - 1 : others.length;
}

/** A node with fewer pieces does not fetch: its link is slow, or it has just come and takes from peers. */
function leastCount({ self, others, pieceCount }: Standing): number {
  const counts = [self, ...others].map(({ count }) => count).sort((a, b) => a - b);
  const median = counts[Math.floor(counts.length / 2)] ?? 0;
  return median - Math.max(BEHIND_PIECES, pieceCount / BEHIND_PART);
}
