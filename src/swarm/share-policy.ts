import type { Claimer } from './claims.ts';
import { goesBefore } from './rendezvous.ts';

/** A piece that this node has opened at its registry peer. */
export interface OpenPiece {
  /** Its bytes have been asked for; before that it can be let go at no cost. */
  readonly requested: boolean;
}

/** All that the choice depends on. Times in milliseconds, rates in bytes per second. */
export interface ShareView {
  readonly selfId: string;
  readonly now: number;
  readonly pieceLength: number;
  readonly pieceCount: number;
  /** All pieces, this node's best first (rendezvousOrder). */
  readonly order: readonly number[];
  /** Verified here. */
  readonly has: (index: number) => boolean;
  readonly open: ReadonlyMap<number, OpenPiece>;
  /** Some connected peer has it and is not stalled. */
  readonly held: (index: number) => boolean;
  /** The connected peers that say they are fetching it. */
  readonly claimers: (index: number, now: number) => readonly Claimer[];
  /** The registry failed at it a moment ago. */
  readonly resting: (index: number) => boolean;
  /** Connected peers that are not stalled. */
  readonly peers: number;
  /** The tracker has named peers, and they have not had the time to answer. */
  readonly expecting: boolean;
  /** How long there has been something to take from peers, without a break. */
  readonly backlogMs: number;
  /** The tracker has named nobody, or has had its time: a node without peers need not wait for some. */
  readonly settled: boolean;
  /** What all peers together bring now. */
  readonly peerRate: number;
  /** What the registry brought when it was last asked; undefined: not known yet. */
  readonly registryRate: number | undefined;
  /** How long one piece took from its request to its end; undefined: not known yet. */
  readonly pieceMs: number | undefined;
}

export interface ShareDecision {
  /** To be opened, in this order; neighbours come next to each other and make one request. */
  readonly open: readonly number[];
  /** To be let go. */
  readonly release: readonly number[];
}

/** Fewer would leave the pipe empty between two requests; more make the shares uneven (measured). */
const MIN_OPEN = 2;
const MAX_OPEN = 16;
/** Of the registry's work is opened at once: hides the registry's delay where pieces are quick. */
const OPEN_AHEAD_MS = 1000;
/**
 * Alone nobody needs to be told, and one long request is the fastest; but who was alone a moment ago throws away
 * what is under way, so the first run is short and each is as long as all before it.
 */
const FIRST_ALONE_BYTES = 8 * 1024 * 1024;
const MAX_ALONE_BYTES = 256 * 1024 * 1024;
/** Memory does not grow with it, claims do. */
const OPEN_BYTES = 32 * 1024 * 1024;
/** So long a backlog of what peers have is left to them, whatever the registry could do. */
const PATIENCE_MS = 20_000;
/** Before a rate of peers means anything. */
const LEARN_MS = 4000;
/** Peers are clearly slower when the registry is so many times faster. */
const CLEARLY_FASTER = 2;
/** A claim is believed this long, or four times the time that a piece takes (4 s was far too short: measured). */
const MIN_CLAIM_MS = 15_000;
const CLAIM_PIECE_TIMES = 4;

/** How long a peer's claim is believed, milliseconds. */
export function claimLifetime(pieceMs: number | undefined): number {
  return Math.max(MIN_CLAIM_MS, CLAIM_PIECE_TIMES * (pieceMs ?? 0));
}

/**
 * Which pieces this node takes from the registry now. Alone: everything, in long runs. Among peers: a few pieces
 * that nobody has and nobody has claimed; and what peers have only where they are clearly slower.
 */
export function decideShares(view: ShareView): ShareDecision {
  if (!view.settled) return { open: [], release: [] };
  if (view.peers === 0 && !view.expecting) return decideAlone(view);
  const release = toRelease(view);
  const places = openLimit(view) - (view.open.size - release.length);
  if (places <= 0) return { open: [], release };
  const ours = unheld(view, places);
  const open = ours.length < places ? [...ours, ...fromSlowPeers(view, places - ours.length)] : ours;
  return { open, release };
}

/**
 * One run of neighbours at a time. The first from this node's best place (others may be about to do the same), the
 * next where pieces are missing first.
 */
function decideAlone(view: ShareView): ShareDecision {
  if (view.open.size > 0) return { open: [], release: [] };
  const candidates = view.order.filter((index) => isCandidate(view, index));
  const begun = candidates.length < view.pieceCount;
  const first = begun ? candidates.toSorted((a, b) => a - b)[0] : candidates[0];
  if (first === undefined) return { open: [], release: [] };
  const done = (view.pieceCount - candidates.length) * view.pieceLength;
  const bytes = Math.min(Math.max(done, FIRST_ALONE_BYTES), MAX_ALONE_BYTES);
  const most = Math.max(1, Math.floor(bytes / view.pieceLength));
  const open = [first];
  for (let next = first + 1; open.length < most && isCandidate(view, next); next++) open.push(next);
  return { open, release: [] };
}

function isCandidate(view: ShareView, index: number): boolean {
  return index < view.pieceCount && !view.has(index) && !view.open.has(index) && !view.resting(index);
}

function openLimit({ pieceMs, pieceLength }: ShareView): number {
  const wanted = pieceMs === undefined ? MIN_OPEN : Math.ceil(OPEN_AHEAD_MS / Math.max(1, pieceMs)) + 1;
  const roomy = Math.max(MIN_OPEN, Math.floor(OPEN_BYTES / pieceLength));
  return Math.min(Math.max(wanted, MIN_OPEN), MAX_OPEN, roomy);
}

/**
 * Not yet requested, and a peer has it meanwhile, or a peer with a better weight claimed it in the same moment;
 * and the long run of a node that is no longer alone, but for its first pieces.
 */
function toRelease(view: ShareView): number[] {
  const release = new Set<number>();
  // What was opened because peers are slow must not be let go because a peer has it: that would never end.
  const slow = arePeersSlow(view);
  for (const [index, { requested }] of view.open) {
    if (requested) continue;
    const rivals = view.claimers(index, view.now);
    const loses = rivals.some(({ peer, fetching }) => fetching || goesBefore(index, peer, view.selfId));
    if ((view.held(index) && !slow) || loses) release.add(index);
  }
  const kept = [...view.open.keys()].filter((index) => !release.has(index));
  // Bytes of requested pieces are on their way, so those stay even above the limit.
  const started = kept.filter((index) => view.open.get(index)?.requested === true);
  const waiting = kept.filter((index) => view.open.get(index)?.requested !== true);
  const places = Math.max(0, openLimit(view) - started.length);
  for (const index of waiting.slice(places)) release.add(index);
  return [...release];
}

/** Neighbours of what this node already has or fetches go first: fewer requests; then its own order. */
function unheld(view: ShareView, places: number): number[] {
  const chosen = new Set<number>();
  const free = (index: number): boolean =>
    isCandidate(view, index) &&
    !chosen.has(index) &&
    !view.held(index) &&
    view.claimers(index, view.now).length === 0;
  const run = (from: number): void => {
    for (let next = from; chosen.size < places && free(next); next++) chosen.add(next);
  };
  for (const index of view.open.keys()) run(index + 1);
  for (const index of view.order) {
    if (chosen.size >= places) break;
    run(index);
  }
  return [...chosen];
}

/** What peers have and are too slow for: one piece to learn what the registry does, more when it is faster. */
function fromSlowPeers(view: ShareView, places: number): number[] {
  if (!arePeersSlow(view)) return [];
  const most = view.registryRate === undefined ? Math.min(places, view.open.size === 0 ? 1 : 0) : places;
  const chosen: number[] = [];
  for (const index of view.order) {
    if (chosen.length >= most) break;
    const free = isCandidate(view, index) && view.claimers(index, view.now).length === 0;
    if (free && view.held(index)) chosen.push(index);
  }
  return chosen;
}

/**
 * Peers would need long for what they have, and the registry is clearly faster, as far as it is known. Whether a piece
 * of it is open already makes no difference: else opening it would change the answer.
 */
function arePeersSlow(view: ShareView): boolean {
  const { backlogMs, registryRate, peerRate, pieceLength } = view;
  if (backlogMs < LEARN_MS) return false;
  if (registryRate !== undefined && registryRate <= CLEARLY_FASTER * peerRate) return false;
  let backlog = 0;
  for (const index of view.order) if (!view.has(index) && view.held(index)) backlog += pieceLength;
  return (backlog / Math.max(1, peerRate)) * 1000 >= PATIENCE_MS;
}
