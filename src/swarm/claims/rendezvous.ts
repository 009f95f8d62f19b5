/**
 * A peer as claims and ranks know it: 32 bits of its id and the torrent's. Every node computes the same for
 * everybody, and other ones for another torrent, so that not the same few nodes do the work of all layers.
 */
export function peerTag(peerId: string, infoHash: string): number {
  // FNV-1a over both
  let hash = 0x811c9dc5;
  for (const text of [peerId, infoHash]) {
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return mixed(hash);
}

/** True where `a` goes before `b` for this piece: highest random weight (Thaler and Ravishankar, 1998). */
export function goesBefore(index: number, a: number, b: number): boolean {
  const [ofA, ofB] = [weight(index, a), weight(index, b)];
  return ofA === ofB ? a > b : ofA > ofB;
}

/** A blob is fetched in this many windows, one after the other; none has fewer pieces than LEAST_WINDOW. */
const WINDOWS = 4;
const LEAST_WINDOW = 64;

/**
 * All pieces in the order in which this node prefers to fetch them: one window of the blob after the other, so that the
 * digest can be computed from the start while the rest arrives, and in each window another order at each node. Window
 * size is a trade-off: large windows leave more to hash at the end, small ones make nodes collide at the end of each
 * window. The first piece is random, because nodes that start together have not exchanged claims yet.
 */
export function rendezvousOrder(pieceCount: number, tag: number): number[] {
  const window = Math.max(LEAST_WINDOW, Math.ceil(pieceCount / WINDOWS));
  const weights = Array.from({ length: pieceCount }, (_, index) => weight(index, tag));
  const first = mixed(tag) % pieceCount;
  const windowOf = (index: number): number => (index === first ? -1 : Math.floor(index / window));
  return [...weights.keys()].sort(
    (a, b) => windowOf(a) - windowOf(b) || (weights[b] ?? 0) - (weights[a] ?? 0),
  );
}

/** A weight for each pair of nodes: a node relays what it hears to the peers with the greatest. */
export function pairWeight(a: number, b: number): number {
  return mixed(Math.imul(a, 0x9e3779b1) ^ b);
}

function weight(index: number, tag: number): number {
  return mixed(tag ^ Math.imul(index + 1, 0x9e3779b1));
}

/** The finalizer of MurmurHash3, which spreads neighbouring numbers. 0 to 2^32 - 1. */
function mixed(hash: number): number {
  let bits = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
