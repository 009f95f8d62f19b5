/**
 * Highest-random-weight hashing (Thaler and Ravishankar, 1998): who is how fit to fetch piece `index` from the
 * registry. Every node computes the same weights for everybody, so ties are broken alike without talking.
 * @returns 0 to 2^32 - 1
 */
function weight(index: number, peerId: string): number {
  // FNV-1a over the peer id, then the finalizer of MurmurHash3, which spreads neighbouring indexes.
  let hash = 0x811c9dc5 ^ index;
  for (let at = 0; at < peerId.length; at++) hash = Math.imul(hash ^ peerId.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** True where `a` goes before `b` for this piece; equal weights are decided by the ids. */
export function goesBefore(index: number, a: string, b: string): boolean {
  const [ofA, ofB] = [weight(index, a), weight(index, b)];
  return ofA === ofB ? a > b : ofA > ofB;
}

/** All pieces, best first: where this node begins, so that nodes begin in different places. */
export function rendezvousOrder(pieceCount: number, peerId: string): number[] {
  const weights = Array.from({ length: pieceCount }, (_, index) => weight(index, peerId));
  return [...weights.keys()].sort((a, b) => (weights[b] ?? 0) - (weights[a] ?? 0));
}
