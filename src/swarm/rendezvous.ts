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

/**
 * How far a node may prefer a piece that suits it to one that lies before it. A blob is fetched about from its beginning
 * to its end, since its digest can only be taken in that order: what lies in disorder at the end is hashed when all wait
 * for it. Fewer pieces, and nodes meet at the same one.
 */
const LEAD_PIECES = 128;

/**
 * All pieces, best first: from the first to the last, but each node passes over what suits others better. The very first
 * lies anywhere, since nodes that begin in the same moment have not heard of each other.
 */
export function rendezvousOrder(pieceCount: number, tag: number): number[] {
  const places = Float64Array.from(
    { length: pieceCount },
    (_, index) => index + LEAD_PIECES * disinclination(index, tag),
  );
  const order = [...places.keys()].sort((a, b) => (places[a] ?? 0) - (places[b] ?? 0));
  const first = mixed(tag) % pieceCount;
  return [first, ...order.filter((index) => index !== first)];
}

/** 0 to 1, against the weight. */
function disinclination(index: number, tag: number): number {
  return 1 - weight(index, tag) / 2 ** 32;
}

/** Different for every pair, the same for nobody else: whom of its peers a node tells what it has heard. */
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
