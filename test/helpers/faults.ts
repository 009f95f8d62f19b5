import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What goes wrong on a connection (TCP) or in an answer (HTTP), on the way from the server to the client. Offsets
 * count bytes of that way, from 0; of an answer's body with HTTP.
 */
export interface Faults {
  /** Milliseconds before the first byte. */
  readonly delayMs?: number;
  /** The connection is taken and nothing ever comes. */
  readonly silent?: boolean;
  /** The connection is closed as soon as it is there. */
  readonly refuse?: boolean;
  /** After so many bytes nothing more comes, and the connection stays. */
  readonly stallAfter?: number;
  /** After so many bytes the connection is cut. */
  readonly cutAfter?: number;
  /** The byte at this offset arrives with its bits inverted. */
  readonly corruptAt?: number;
}

/** Never settles on its own; ends when the connection does. */
type Stall = 'stall';
type Cut = 'cut';

export interface Passed {
  readonly bytes: Buffer;
  readonly then: 'go on' | Stall | Cut;
}

/** What of a chunk that begins at `offset` passes, and what happens after it. */
export function passThrough(faults: Faults, offset: number, chunk: Buffer): Passed {
  const { corruptAt, stallAfter = Infinity, cutAfter = Infinity } = faults;
  const end = Math.min(stallAfter, cutAfter);
  const bytes = Buffer.from(chunk.subarray(0, Math.max(0, Math.min(chunk.length, end - offset))));
  const spot = corruptAt === undefined ? -1 : corruptAt - offset;
  const hit = bytes[spot];
  if (hit !== undefined) bytes[spot] = hit ^ 0xff;
  if (offset + chunk.length < end) return { bytes, then: 'go on' };
  return { bytes, then: end === cutAfter ? 'cut' : 'stall' };
}

/** Longest burst: short, so that the first bytes of a download already feel the limit. */
const BURST_SECONDS = 0.02;
/** Chunks of this size share a link fairly. */
export const LINK_CHUNK = 16 * 1024;

/** One shared pipe: however many connections, together they get this many bytes per second. */
export class Link {
  bytesPerSecond: number;
  #freeAt = 0;

  constructor(bytesPerSecond: number) {
    this.bytesPerSecond = bytesPerSecond;
  }

  /** Waits until so many bytes have gone through. */
  async pass(bytes: number): Promise<void> {
    if (!Number.isFinite(this.bytesPerSecond)) return;
    const now = performance.now();
    this.#freeAt = Math.max(this.#freeAt, now - BURST_SECONDS * 1000) + (bytes / this.bytesPerSecond) * 1000;
    const wait = this.#freeAt - now;
    // Of a link that is next to dead this may be hours, and must keep no test from ending.
    if (wait > 1) await sleep(wait, undefined, { ref: false });
  }
}
