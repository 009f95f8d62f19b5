import type { RateLimiter } from '../../base/rate-limiter.ts';
import { pieceSpan, type PieceGeometry } from '../../metainfo/geometry.ts';
import { MAX_BLOCK } from '../wire/message-reader.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import type { HeldPiece } from '../pieces/piece-cache.ts';
import type { PieceStorage } from '../swarm-client.ts';

/** A peer that takes slowly has so much ready for it, and no more in memory. Bytes. */
const MAX_UNSENT = 512 * 1024;
/** More requests under way than any client keeps; who sends more is no client. */
const MAX_REQUESTS = 4096;
/** What a node has it has announced: others ask for nothing else. A few may have been on their way. */
const MAX_REFUSED = 64;

interface Request {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

export interface UploadOptions {
  readonly geometry: PieceGeometry;
  readonly storage: PieceStorage;
  readonly has: (index: number) => boolean;
  readonly cached: (index: number) => HeldPiece | undefined;
  readonly limiter: RateLimiter;
  readonly onGiven: (bytes: number) => void;
}

/** Gives blocks to one peer, in the order of its requests, no faster than it takes them. */
export class Uploads {
  readonly #wire: PeerWire;
  readonly #options: UploadOptions;
  /** Oldest first. */
  readonly #queue = new Map<string, Request>();
  #refused = 0;
  #busy = false;
  /** Read last: peers ask for small blocks one after the other. */
  #window: (Request & { readonly bytes: Uint8Array }) | undefined;

  constructor(wire: PeerWire, options: UploadOptions) {
    this.#wire = wire;
    this.#options = options;
  }

  ask(index: number, offset: number, length: number): void {
    const { geometry, has } = this.#options;
    if (!isBlock(geometry, index, offset, length))
      return this.#wire.reportViolation('a request for what is no block');
    if (this.#queue.size >= MAX_REQUESTS) return this.#wire.reportViolation('a flood of requests');
    const request = { index, offset, length };
    if (!has(index)) {
      if (++this.#refused > MAX_REFUSED)
        return this.#wire.reportViolation('requests for what it was not offered');
      return this.#refuse(request);
    }
    this.#queue.set(keyOf(request), request);
    if (!this.#busy) void this.#serve();
  }

  cancel(index: number, offset: number, length: number): void {
    this.#queue.delete(keyOf({ index, offset, length }));
  }

  async #serve(): Promise<void> {
    const wire = this.#wire;
    this.#busy = true;
    for (const [key, next] of this.#queue) {
      if (wire.destroyed) break;
      this.#queue.delete(key);
      if (wire.unsent > MAX_UNSENT) await wire.drained();
      try {
        // Without a pause where nothing has to be waited for: all goes out in one system call.
        const giving = this.#give(next);
        if (giving !== undefined) await giving;
      } catch {
        // The storage cannot be read: others have it.
        this.#refuse(next);
      }
    }
    this.#queue.clear();
    this.#window = undefined;
    this.#busy = false;
  }

  #give(request: Request): Promise<void> | undefined {
    const { limiter } = this.#options;
    if (limiter.bytesPerSecond === 0) return this.#giveNow(request);
    return limiter.take(request.length).then(() => this.#giveNow(request));
  }

  #giveNow(request: Request): Promise<void> | undefined {
    const { index, offset, length } = request;
    const piece = this.#options.cached(index)?.use();
    if (piece === undefined) return this.#read(request).then((bytes) => this.#send(request, bytes));
    this.#send(request, piece.bytes.subarray(offset, offset + length), piece.release);
    return undefined;
  }

  #send({ index, offset, length }: Request, bytes: Uint8Array, onSent: () => void = () => {}): void {
    this.#wire.give(index, offset, bytes, onSent);
    this.#options.onGiven(length);
  }

  async #read({ index, offset, length }: Request): Promise<Uint8Array> {
    let window = this.#window;
    const isInside =
      window?.index === index && offset >= window.offset && offset + length <= window.offset + window.length;
    if (window === undefined || !isInside) {
      const { start, end } = pieceSpan(this.#options.geometry, index);
      const most = Math.min(MAX_BLOCK, end - start - offset);
      const bytes = await this.#options.storage.read(start + offset, most);
      this.#window = window = { index, offset, length: most, bytes };
    }
    const at = offset - window.offset;
    return window.bytes.subarray(at, at + length);
  }

  #refuse({ index, offset, length }: Request): void {
    if (this.#wire.hasFast) this.#wire.reject(index, offset, length);
  }
}

function keyOf({ index, offset, length }: Request): string {
  return `${index}/${offset}/${length}`;
}

/** Within its piece, and no longer than what BEP 3 allows. */
function isBlock(geometry: PieceGeometry, index: number, offset: number, length: number): boolean {
  if (index >= geometry.pieceCount || length === 0 || length > MAX_BLOCK || offset < 0 || index < 0)
    return false;
  const { start, end } = pieceSpan(geometry, index);
  return length > 0 && start + offset + length <= end;
}
