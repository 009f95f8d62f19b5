import type { OpenPiece } from '../pieces/pieces.ts';
import type { Claim } from './claim-book.ts';
import { goesBefore } from './rendezvous.ts';
import type { Help } from './slow-peers.ts';

/** All that the choice depends on. Times in milliseconds, rates in bytes per second. */
export interface FetchView {
  /** peerTag of this node. */
  readonly selfTag: number;
  readonly pieceLength: number;
  readonly pieceCount: number;
  /** Missing pieces, and perhaps some that are here; this node's best first (rendezvousOrder). */
  readonly order: readonly number[];
  /** Missing pieces that somebody waits for, the most urgent first; absent: none. */
  readonly wanted?: readonly number[];
  /** Verified here. */
  readonly has: (index: number) => boolean;
  readonly open: ReadonlyMap<number, OpenPiece>;
  /** It was opened when this node had no peers, so perhaps by too many. */
  readonly speculative: (index: number) => boolean;
  /** Some connected peer has it and is not stalled. */
  readonly held: (index: number) => boolean;
  /** The peers that claim to fetch it. */
  readonly claimers: (index: number) => readonly Claim[];
  /** The registry failed at it a moment ago. */
  readonly backingOff: (index: number) => boolean;
  /** Connected peers that are not stalled. */
  readonly peers: number;
  /** Peers that the tracker named and that have not had the time to answer. */
  readonly expecting: 'none' | 'leechers' | 'seeders';
  /** The tracker has answered, or has had its time, or peers are here. */
  readonly settled: boolean;
  /** It is this node's turn to begin, whoever may answer later. */
  readonly early: boolean;
  /** This node is one of those that fetch (isFetcher). */
  readonly fetcher: boolean;
  /** Peers have enough to fill what this node may take (`--download-rate`): what it claimed now would come late. */
  readonly full: boolean;
  /** How far the registry helps with what peers have and are slow with (SlowPeers). */
  readonly help: Help;
  /** What the registry brings to this node, bytes per millisecond; undefined: not known. */
  readonly registryRate: number | undefined;
  /** Connected nodes that miss pieces, this one included. */
  readonly nodes: number;
  /** Blocks of it have been asked of peers. */
  readonly begun: (index: number) => boolean;
  /** How long one piece takes now from its claim to its end, whoever fetches it; undefined: not known yet. */
  readonly pieceMs: number | undefined;
}

export interface ShareDecision {
  /** To be opened, in this order; neighbours come next to each other and make one request. */
  readonly open: readonly number[];
  /** To be let go; one that is arriving is broken off. */
  readonly release: readonly number[];
}

/** Fewer would leave the pipe empty between two requests; more make the shares uneven (measured). */
const MIN_OPEN = 2;
const MAX_OPEN = 16;
/** How much of the registry's work is opened at once: hides its delay where pieces are quick. Milliseconds. */
const OPEN_AHEAD_MS = 1000;
/**
 * Without peers, one long range request is the fastest. If a peer appears, the request is cancelled and its bytes are
 * lost, so runs start at 8 MiB, or an eighth of a small blob (others may begin in the same moment, in other places), and
 * each is as long as all before it.
 */
const FIRST_ALONE_BYTES = 8 * 1024 * 1024;
const FIRST_ALONE_PART = 1 / 8;
const MAX_ALONE_BYTES = 256 * 1024 * 1024;
/** The most that is open at once: memory does not grow with it, but other nodes wait for what is claimed. Bytes. */
const OPEN_BYTES = 32 * 1024 * 1024;
/** A duplicate request is cancelled if less than this part of the piece has arrived; a speculative one likewise. */
const WORTH_ENDING = 1 / 2;
const HARDLY_BEGUN = 1 / 8;

/**
 * Which pieces this node takes from the registry now. Alone: everything, in long runs. Among peers, if it is one of
 * those that fetch: a few pieces that nobody has and nobody has claimed. And what peers have only where they are
 * clearly slower.
 */
export function decideShares(view: FetchView): ShareDecision {
  if (!view.settled) return { open: decideEarly(view), release: [] };
  if (view.peers === 0 && view.expecting === 'none') return { open: decideAlone(view), release: [] };
  const release = toRelease(view);
  const slots = openLimit(view) - (view.open.size - release.length);
  if (slots <= 0 || (view.peers === 0 && view.expecting === 'seeders')) return { open: [], release };
  const ours = view.fetcher && !view.full ? unheld(view, slots) : wantedUnheld(view).slice(0, slots);
  return { open: [...ours, ...fromSlowPeers(view, slots - ours.length)], release };
}

/** One piece at this node's best place: nodes that begin in the same moment hardly meet there. */
function decideEarly(view: FetchView): number[] {
  if (!view.early || view.open.size > 0) return [];
  const first = view.order.find((index) => isCandidate(view, index));
  return first === undefined ? [] : [first];
}

/**
 * One run of neighbours at a time, the next while the last piece of the one before arrives. The first from this
 * node's best place (others may be about to do the same), the next where pieces are missing first.
 */
function decideAlone(view: FetchView): number[] {
  const wanted = (view.wanted ?? []).filter((index) => isCandidate(view, index));
  // Beside the long run that is under way, whose end may be far.
  if (view.open.size > 1) return wanted.slice(0, MIN_OPEN);
  const candidates = view.order.filter((index) => isCandidate(view, index));
  const begun = candidates.length < view.pieceCount;
  const first = wanted[0] ?? (begun ? candidates.toSorted((a, b) => a - b)[0] : candidates[0]);
  if (first === undefined) return [];
  const done = (view.pieceCount - candidates.length) * view.pieceLength;
  const firstBytes = view.pieceCount * view.pieceLength * FIRST_ALONE_PART;
  const bytes = Math.min(Math.max(done, Math.min(firstBytes, FIRST_ALONE_BYTES)), MAX_ALONE_BYTES);
  const most = Math.max(1, Math.floor(bytes / view.pieceLength));
  const open = [first];
  for (let next = first + 1; open.length < most && isCandidate(view, next); next++) open.push(next);
  return open;
}

function isCandidate(view: FetchView, index: number): boolean {
  return index < view.pieceCount && !view.has(index) && !view.open.has(index) && !view.backingOff(index);
}

/** About a second of the registry's work at the pace that it has now, other nodes included. */
function openLimit(view: FetchView): number {
  const { pieceMs, pieceLength } = view;
  if (isHelpedAlone(view)) return aloneLimit(view);
  const wanted = pieceMs === undefined ? MIN_OPEN : Math.ceil(OPEN_AHEAD_MS / Math.max(1, pieceMs)) + 1;
  const roomy = Math.max(MIN_OPEN, Math.floor(OPEN_BYTES / pieceLength));
  return Math.min(Math.max(wanted, MIN_OPEN), MAX_OPEN, roomy);
}

/** What others bring; and the long run of a node that is no longer alone, but for its first pieces. */
function toRelease(view: FetchView): number[] {
  const kept: number[] = [];
  const release: number[] = [];
  for (const [index, piece] of view.open) (isOthers(view, index, piece) ? release : kept).push(index);
  // Bytes of requested pieces are on their way, so those stay even above the limit.
  const started = kept.filter((index) => view.open.get(index)?.requested === true);
  const waiting = kept.filter((index) => view.open.get(index)?.requested !== true);
  const slots = Math.max(0, openLimit(view) - started.length);
  return [...release, ...waiting.slice(slots)];
}

/** Better left to others, who have it or bring it, or who are those that fetch. */
function isOthers(view: FetchView, index: number, { requested, received = Infinity }: OpenPiece): boolean {
  // What was opened because peers are slow must not be let go because a peer has it: that would never end.
  if (view.held(index) && view.help !== 'none') return false;
  const most = requested ? view.pieceLength * WORTH_ENDING : Infinity;
  if (received > most && requested) return false;
  if (view.held(index)) return true;
  if (!view.fetcher && view.wanted?.includes(index) !== true)
    return !requested || (view.speculative(index) && received < view.pieceLength * HARDLY_BEGUN);
  return view
    .claimers(index)
    .some(({ tag, fetching }) => (fetching && !requested) || goesBefore(index, tag, view.selfTag));
}

/** ClaimPeers of what this node already fetches go first: fewer requests; then its own order. */
function unheld(view: FetchView, slots: number): number[] {
  const chosen = new Set<number>();
  const free = (index: number): boolean =>
    isCandidate(view, index) && !chosen.has(index) && !view.held(index) && view.claimers(index).length === 0;
  const run = (from: number): void => {
    for (let next = from; chosen.size < slots && free(next); next++) chosen.add(next);
  };
  for (const index of wantedUnheld(view)) if (chosen.size < slots) chosen.add(index);
  for (const index of view.open.keys()) run(index + 1);
  for (const index of view.order) {
    if (chosen.size >= slots) break;
    run(index);
  }
  return [...chosen];
}

/** Somebody waits for it, and no peer has it or is fetching it. */
function wantedUnheld(view: FetchView): number[] {
  return (view.wanted ?? []).filter(
    (index) => isCandidate(view, index) && !view.held(index) && view.claimers(index).length === 0,
  );
}

/** Nobody else waits for what this node claims, so it may ask in long runs. */
function isHelpedAlone({ help, nodes }: FetchView): boolean {
  return help !== 'none' && nodes === 1;
}

function aloneLimit({ registryRate = 0, pieceLength }: FetchView): number {
  const roomy = Math.max(MIN_OPEN, Math.floor(OPEN_BYTES / pieceLength));
  return Math.min(MIN_OPEN + Math.ceil((registryRate * OPEN_AHEAD_MS) / pieceLength), roomy);
}

/** What peers have and are too slow for; of what they have begun, one piece, when nothing else is left. */
function fromSlowPeers(view: FetchView, slots: number): number[] {
  const { help, open, order, nodes } = view;
  if (help === 'none' || help === 'hold' || slots <= 0) return [];
  if (help === 'probe' && open.size > 0) return [];
  // The next run is asked for while the second half of the one before arrives.
  if (isHelpedAlone(view) && slots * 2 < aloneLimit(view)) return [];
  const candidates = order.filter(
    (index) => isCandidate(view, index) && view.held(index) && view.claimers(index).length === 0,
  );
  const untouched = candidates.filter((index) => !view.begun(index));
  if (untouched.length === 0) return open.size > 0 ? [] : candidates.slice(0, 1);
  if (nodes === 1) untouched.sort((a, b) => a - b);
  return untouched.slice(0, help === 'probe' ? 1 : slots);
}
