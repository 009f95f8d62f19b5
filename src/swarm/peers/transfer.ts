import type { BlockRange } from '../pieces/piece-progress.ts';
import type { PeerWire } from '../wire/peer-wire.ts';

/** Blocks are asked for so early that this much time lies between a request and its answer. Seconds. */
const AHEAD_SECONDS = 0.5;
/** Before a rate is known, and of a peer that is slow. Bytes. */
const LEAST_AHEAD = 256 * 1024;
/** More than a LAN holds between two nodes. Bytes. */
const MOST_AHEAD = 8 * 1024 * 1024;
/** What is asked for at once of a peer whose rate is low or not known, bytes. */
const SHORT_REQUEST = 128 * 1024;
/** The time over which a rate is taken, milliseconds. */
const RATE_SPAN_MS = 500;
/**
 * At the end, what a peer has owed for so many times what it needs for all that it owes, and within these bounds, is also
 * asked of a peer that is idle. Of one that has brought nothing yet: the least. Milliseconds.
 */
const OVERDUE_TIMES = 3;
const LEAST_OVERDUE_MS = 150;
const MOST_OVERDUE_MS = 750;
/** What may come without having been asked for, besides what was taken back too late; the least that is counted. Bytes. */
const UNASKED = 1024 * 1024;
const LEAST_UNASKED = 2 ** 14;
/** Offsets lie below it (metainfo bounds the length of a piece). */
const OFFSET_PLACES = 2 ** 24;

/** One request under way. */
export interface BlockRequest extends BlockRange {
  readonly index: number;
  /** Milliseconds on the clock of performance.now. */
  readonly at: number;
}

/** What one peer has been asked for and has not brought; how much of it is sensible. */
export class Transfer {
  readonly #wire: PeerWire;
  readonly #requests = new Map<number, BlockRequest>();
  #bytesAsked = 0;
  #unasked = UNASKED;
  #rate = 0;
  #spanBegan = performance.now();
  #spanBytes = 0;

  constructor(wire: PeerWire) {
    this.#wire = wire;
  }

  /** Requests, oldest first. */
  get requests(): Iterable<BlockRequest> {
    return this.#requests.values();
  }

  get count(): number {
    return this.#requests.size;
  }

  get #ahead(): number {
    return Math.min(Math.max(this.#rate * AHEAD_SECONDS, LEAST_AHEAD), MOST_AHEAD);
  }

  /** How many bytes more may be asked for; 0 while half of what is sensible is still to come. */
  get room(): number {
    const ahead = this.#ahead;
    return this.#bytesAsked > ahead / 2 ? 0 : ahead - this.#bytesAsked;
  }

  /** The longest request to a peer that is slow or unknown: short, so that other peers can take over. Bytes. */
  get longestRequest(): number {
    return Math.min(this.#wire.longestBlock, Math.max(SHORT_REQUEST, this.#ahead / 8));
  }

  /** What it has owed for longer may be asked of others, too. Milliseconds. */
  get overdueMs(): number {
    if (this.#rate === 0) return LEAST_OVERDUE_MS;
    const ms = (OVERDUE_TIMES * this.#bytesAsked * 1000) / this.#rate;
    return Math.min(Math.max(ms, LEAST_OVERDUE_MS), MOST_OVERDUE_MS);
  }

  has(index: number, offset: number, length: number): boolean {
    return this.#requests.get(keyOf(index, offset))?.length === length;
  }

  /** Something that begins there has been asked for. */
  hasAt(index: number, offset: number): boolean {
    return this.#requests.has(keyOf(index, offset));
  }

  request(index: number, { offset, length }: BlockRange): void {
    this.#requests.set(keyOf(index, offset), { index, offset, length, at: performance.now() });
    this.#bytesAsked += length;
    this.#wire.sendRequest(index, offset, length);
  }

  /** A block came, or will not come. @returns the request; undefined: it was not asked for */
  settle(index: number, offset: number, length: number): BlockRequest | undefined {
    const request = this.#requests.get(keyOf(index, offset));
    if (request?.length !== length) return undefined;
    this.#requests.delete(keyOf(index, offset));
    this.#bytesAsked -= length;
    return request;
  }

  /** Takes back what was asked. @returns what that was */
  cancel(which: (request: BlockRequest) => boolean = () => true): BlockRequest[] {
    const cancelled = [...this.#requests.values()].filter(which);
    for (const { index, offset, length } of cancelled) {
      this.settle(index, offset, length);
      this.#unasked += length;
      this.#wire.sendCancel(index, offset, length);
    }
    return cancelled;
  }

  /** A block came that was not asked for, or no longer. @returns false: it is more than chance */
  forgives(length: number): boolean {
    this.#unasked -= Math.max(length, LEAST_UNASKED);
    return this.#unasked >= 0;
  }

  /** Bytes came. */
  observe(bytes: number): void {
    this.#spanBytes += bytes;
    const now = performance.now();
    const span = now - this.#spanBegan;
    if (span < RATE_SPAN_MS) {
      // Faster than thought: no need to wait for the end of the span to know.
      this.#rate = Math.max(this.#rate, (this.#spanBytes / RATE_SPAN_MS) * 1000);
      return;
    }
    this.#rate = (this.#spanBytes / span) * 1000;
    this.#spanBegan = now;
    this.#spanBytes = 0;
  }
}

function keyOf(index: number, offset: number): number {
  return index * OFFSET_PLACES + offset;
}
