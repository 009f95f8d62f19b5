/** What one peer says that it is fetching from the registry: "do not ask for these, I bring them". */
export interface ClaimMessage {
  /** `fetching`: a claim whose bytes are on their way already; nobody else's goes before it. */
  readonly kind: 'claim' | 'fetching' | 'drop';
  readonly pieces: readonly number[];
}

/** Who claims a piece. */
export interface Claimer {
  readonly peer: string;
  readonly fetching: boolean;
}

/** One message; a node has fewer open at once. */
export const MAX_PIECES_PER_MESSAGE = 64;
/** What one peer may hold back from the others at a time. */
const MAX_CLAIMS_PER_PEER = 64;
/** A peer that let so many claims run out without having the piece is no longer believed. */
const MAX_BROKEN_CLAIMS = 4;
/** On the wire: its place in this list. */
const KINDS = ['claim', 'drop', 'fetching'] as const;
const INDEX_BYTES = 4;

/** kind (1 byte), then piece indexes (4 bytes each, big-endian). */
export function encodeClaims({ kind, pieces }: ClaimMessage): Uint8Array {
  const bytes = new Uint8Array(1 + pieces.length * INDEX_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, KINDS.indexOf(kind));
  pieces.forEach((index, at) => view.setUint32(1 + at * INDEX_BYTES, index));
  return bytes;
}

/** @returns undefined for what is no such message: too long, not whole, an unknown kind, an index out of range */
export function decodeClaims(bytes: Uint8Array, pieceCount: number): ClaimMessage | undefined {
  const count = (bytes.length - 1) / INDEX_BYTES;
  if (!Number.isInteger(count) || count < 1 || count > MAX_PIECES_PER_MESSAGE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = KINDS[view.getUint8(0)];
  if (kind === undefined) return undefined;
  const pieces = Array.from({ length: count }, (_, at) => view.getUint32(1 + at * INDEX_BYTES));
  if (pieces.some((index) => index >= pieceCount)) return undefined;
  return { kind, pieces };
}

interface PeerClaims {
  /** Piece -> its claim; `until`: milliseconds at which it runs out. */
  readonly claims: Map<number, { readonly until: number; readonly fetching: boolean }>;
  /** Every piece that it ever claimed: each is believed once, so that nobody holds a piece back for ever. */
  readonly ever: Set<number>;
  broken: number;
}

/** The claims of all connected peers. Time is given; no I/O. */
export class ClaimBook {
  readonly #peers = new Map<string, PeerClaims>();

  /** @param ttl milliseconds that a claim is believed */
  hear(peer: string, { kind, pieces }: ClaimMessage, now: number, ttl: number): void {
    const claims = this.#of(peer);
    for (const index of pieces) {
      if (kind === 'drop') {
        // It may be claimed again: letting go is what a fair node does, within reason.
        if (claims.claims.delete(index) && claims.ever.size < MAX_CLAIMS_PER_PEER * 1024)
          claims.ever.delete(index);
        continue;
      }
      if (claims.ever.has(index) || claims.claims.size >= MAX_CLAIMS_PER_PEER) continue;
      if (claims.broken >= MAX_BROKEN_CLAIMS) continue;
      claims.ever.add(index);
      claims.claims.set(index, { until: now + ttl, fetching: kind === 'fetching' });
    }
  }

  /** The peer has the piece: its claim is kept. */
  fulfilled(peer: string, index: number): void {
    this.#peers.get(peer)?.claims.delete(index);
  }

  /** The connection ended, and all its claims. */
  forget(peer: string): void {
    this.#peers.delete(peer);
  }

  /** Ends what has run out; the claimers are believed less. */
  expire(now: number): void {
    for (const claims of this.#peers.values()) {
      for (const [index, { until }] of claims.claims) {
        if (until > now) continue;
        claims.claims.delete(index);
        claims.broken++;
      }
    }
  }

  claimers(index: number, now: number): Claimer[] {
    const claimers: Claimer[] = [];
    for (const [peer, { claims }] of this.#peers) {
      const claim = claims.get(index);
      if (claim !== undefined && claim.until > now) claimers.push({ peer, fetching: claim.fetching });
    }
    return claimers;
  }

  #of(peer: string): PeerClaims {
    let claims = this.#peers.get(peer);
    if (claims === undefined)
      this.#peers.set(peer, (claims = { claims: new Map(), ever: new Set(), broken: 0 }));
    return claims;
  }
}
