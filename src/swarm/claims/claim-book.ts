import type { ClaimMessage, HeardClaim, RelayedMessage } from './claim-messages.ts';

/** Somebody says that it is fetching a piece. Peers are known by their tags (peerTag). */
export interface Claim {
  readonly tag: number;
  /** The peer that sent the claim: the claimer itself, or one that passed it on. */
  readonly from: number;
  /** When it was heard, milliseconds. */
  readonly since: number;
  /** Its bytes are known to be on their way. */
  readonly fetching: boolean;
}

/** How long claims are believed, milliseconds. */
export interface ClaimTimeouts {
  /** A claim that is older is late if others that were made after it have come. */
  readonly overtaken: number;
  /** A claim that is older is late, whatever the others do. */
  readonly abandoned: number;
  /** A claim that is older, and overtaken, speaks against its claimer. */
  readonly doubted: number;
}

/** Claims of one peer that are believed at a time: more than an honest node has open. */
const MAX_CLAIMS = 16;
/** Relayed claims of one peer that are believed at a time: a swarm of thousands has fewer open. */
const MAX_RELAYED = 64;
/** How often a peer may claim the same piece, so that it cannot hold it back for ever. */
const MAX_TIMES = 4;
/** A peer is ignored once its overdue claims exceed the pieces that it delivered by this number. */
const MAX_LATE = 4;
/** Claims of one piece, by all peers, that are kept. */
const MAX_CLAIMERS = 8;
/** A claim is overtaken when this many that were made after it have been fulfilled. */
const LATER_ONES = 2;
const NO_CLAIMS: readonly Claim[] = [];

/** What one peer has told. */
interface Teller {
  claims: number;
  relayed: number;
  /** Claims that came. */
  kept: number;
  /** Pieces that it claimed, and did not have in time. */
  readonly late: Set<number>;
  /** Piece -> how often it was believed. */
  readonly times: Map<number, number>;
}

/** The claims of all connected peers, and what these have heard of others. Time is given; no I/O. */
export class ClaimBook {
  readonly #claims = new Map<number, Claim[]>();
  readonly #tellers = new Map<number, Teller>();
  /** When the latest of those claims were made that have come, latest first. */
  #latestKept: number[] = [];
  /** Pieces that some peer claimed and did not have in time. */
  readonly #late = new Set<number>();

  /** @returns what is news, to be passed on */
  hear(from: number, message: ClaimMessage, now: number): RelayedMessage | undefined {
    const told = 'claims' in message ? message.claims : message.pieces.map((index) => ({ index, tag: from }));
    const isEnd = message.kind === 'drop' || message.kind === 'withdrawn';
    const fetching = message.kind === 'fetching';
    const news = told.filter(({ index, tag }) =>
      isEnd
        ? this.#remove(index, (claim) => claim.tag === tag && (tag === from || claim.from !== tag)).length > 0
        : this.#add(index, { tag, from, since: now, fetching }),
    );
    return news.length === 0 ? undefined : { kind: isEnd ? 'withdrawn' : 'relayed', claims: news };
  }

  /** The peer has the piece. @returns how long its claim took; undefined if it had made none */
  fulfilled(tag: number, index: number, now: number): number | undefined {
    this.#tellers.get(tag)?.late.delete(index);
    const [claim] = this.#remove(index, (one) => one.tag === tag);
    if (claim?.from !== tag) return undefined;
    this.#teller(tag).kept++;
    this.kept(claim.since);
    return now - claim.since;
  }

  /** A claim, perhaps this node's own, made at `since`, has come. */
  kept(since: number): void {
    this.#latestKept = [...this.#latestKept, since].sort((a, b) => b - a).slice(0, LATER_ONES);
  }

  /** The connection ended, and all that it told. @returns its own claims, of which others are to be told */
  forget(from: number): RelayedMessage | undefined {
    const claims: HeardClaim[] = [];
    for (const index of this.#claims.keys()) {
      for (const { tag } of this.#remove(index, (claim) => claim.from === from)) {
        if (tag === from) claims.push({ index, tag });
      }
    }
    this.#tellers.delete(from);
    return claims.length === 0 ? undefined : { kind: 'withdrawn', claims };
  }

  /** Ends what is late; the claimers are believed less. @returns whether there was any */
  expire(now: number, timeouts: ClaimTimeouts): boolean {
    const overtakenBy = this.#latestKept[LATER_ONES - 1] ?? -Infinity;
    this.#doubt(now - timeouts.doubted, overtakenBy);
    const isLate = ({ from, since }: Claim): boolean =>
      now - since > (since < overtakenBy ? timeouts.overtaken : timeouts.abandoned) ||
      isDoubted(this.#teller(from));
    let any = false;
    for (const index of this.#claims.keys()) {
      for (const { from } of this.#remove(index, isLate)) {
        any = true;
        this.#teller(from).times.set(index, MAX_TIMES);
      }
    }
    return any;
  }

  #doubt(before: number, overtakenBy: number): void {
    for (const [index, claims] of this.#claims) {
      for (const { tag, from, since } of claims) {
        if (tag !== from || since > before || since > overtakenBy) continue;
        this.#teller(from).late.add(index);
        this.#late.add(index);
      }
    }
  }

  /** Whether it matters who has the piece. */
  isAbout(index: number): boolean {
    return this.#claims.has(index) || this.#late.has(index);
  }

  /** The peers that claim the piece. */
  claimers(index: number): readonly Claim[] {
    return this.#claims.get(index) ?? NO_CLAIMS;
  }

  #add(index: number, claim: Claim): boolean {
    const direct = claim.tag === claim.from;
    const claims = this.#claims.get(index) ?? [];
    const known = claims.find(({ tag }) => tag === claim.tag);
    if (known !== undefined && (!direct || known.from === claim.from)) return false;
    if (known === undefined && claims.length >= MAX_CLAIMERS) return false;
    const teller = this.#teller(claim.from);
    const times = teller.times.get(index) ?? 0;
    if (times >= MAX_TIMES || isDoubted(teller)) return false;
    if (direct ? teller.claims >= MAX_CLAIMS : teller.relayed >= MAX_RELAYED) return false;
    // The claimer's own word takes the place of what others said.
    if (known !== undefined) this.#remove(index, ({ tag }) => tag === claim.tag);
    teller.times.set(index, times + 1);
    if (direct) teller.claims++;
    else teller.relayed++;
    const others = this.#claims.get(index);
    if (others === undefined) this.#claims.set(index, [claim]);
    else others.push(claim);
    return known === undefined;
  }

  #remove(index: number, which: (claim: Claim) => boolean): readonly Claim[] {
    const claims = this.#claims.get(index);
    if (claims === undefined) return NO_CLAIMS;
    const removed = claims.filter(which);
    if (removed.length === 0) return NO_CLAIMS;
    for (const { tag, from } of removed) {
      const teller = this.#tellers.get(from);
      if (teller === undefined) continue;
      if (tag === from) teller.claims--;
      else teller.relayed--;
    }
    if (removed.length === claims.length) this.#claims.delete(index);
    else
      this.#claims.set(
        index,
        claims.filter((claim) => !removed.includes(claim)),
      );
    return removed;
  }

  #teller(from: number): Teller {
    let teller = this.#tellers.get(from);
    if (teller === undefined) {
      teller = { claims: 0, relayed: 0, kept: 0, late: new Set(), times: new Map() };
      this.#tellers.set(from, teller);
    }
    return teller;
  }
}

function isDoubted({ late, kept }: Teller): boolean {
  return late.size >= MAX_LATE + kept;
}
