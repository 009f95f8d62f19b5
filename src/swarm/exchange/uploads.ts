import type { RateLimiter } from '../../base/rate-limiter.ts';
import { pieceSpan, type PieceGeometry } from '../../metainfo/geometry.ts';
import { MAX_BLOCK } from '../wire/message-reader.ts';
import type { PeerWire } from '../wire/peer-wire.ts';
import { takePieceBuffer, givePieceBuffer } from '../pieces/piece-buffers.ts';
import type { HeldPiece, PieceCache } from '../pieces/piece-cache.ts';
import type { PieceStorage } from '../swarm-client.ts';

/** Bytes that are ready for one peer; no more are read for it while it does not take these. */
const MAX_UNSENT = 512 * 1024;
/** Requests of one peer that may wait. Other clients keep at most a few hundred, so a peer that has more is banned. */
const MAX_REQUESTS = 4096;
/** Requests of one peer for pieces that this node does not have. A few may be under way when a connection begins. */
const MAX_REFUSED = 64;
/** Read from the storage at once, bytes: peers ask for one block after the other, and one read answers several. */
const READ_BYTES = 1024 * 1024;

interface BlockRequest {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

/** A part of a piece in memory, for several requests. */
interface ReadAhead {
  readonly index: number;
  readonly offset: number;
  readonly memory: HeldPiece;
}

export interface UploadOptions {
  readonly geometry: PieceGeometry;
  readonly storage: PieceStorage;
  readonly has: (index: number) => boolean;
  /** The piece, where it is in memory. */
  readonly cached: (index: number) => HeldPiece | undefined;
  readonly cache: PieceCache;
  readonly limiter: RateLimiter;
  readonly onGiven: (bytes: number) => void;
}

/** Gives blocks to one peer, in the order of its requests, no faster than it takes them. */
export class Uploads {
  readonly #wire: PeerWire;
  readonly #options: UploadOptions;
  /** Oldest first. */
  readonly #queue = new Map<string, BlockRequest>();
  #refused = 0;
  #busy = false;
  #readAhead: ReadAhead | undefined;

  constructor(wire: PeerWire, options: UploadOptions) {
    this.#wire = wire;
    this.#options = options;
  }

  /** BEP 3 `request`. */
  request(index: number, offset: number, length: number): void {
    const { geometry, has } = this.#options;
    if (!isBlock(geometry, index, offset, length))
      return this.#wire.reportViolation('a request for what is no block');
    if (this.#queue.size >= MAX_REQUESTS) return this.#wire.reportViolation('a flood of requests');
    const request = { index, offset, length };
    if (!has(index)) {
      if (++this.#refused > MAX_REFUSED)
        return this.#wire.reportViolation('requests for what it was not offered');
      return this.#reject(request);
    }
    this.#queue.set(keyOf(request), request);
    if (!this.#busy) void this.#serve();
  }

  /** BEP 3 `cancel`. */
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
        // Without a pause where there is nothing to wait for: all of it goes out in one system call.
        const answering = this.#answer(next);
        if (answering !== undefined) await answering;
      } catch {
        // The storage cannot be read: the peer asks somebody else.
        this.#reject(next);
      }
    }
    this.#queue.clear();
    this.#readAhead?.memory.release();
    this.#readAhead = undefined;
    this.#busy = false;
  }

  #answer(request: BlockRequest): Promise<void> | undefined {
    const { limiter } = this.#options;
    if (limiter.bytesPerSecond === 0) return this.#answerNow(request);
    return limiter.take(request.length).then(() => this.#answerNow(request));
  }

  #answerNow(request: BlockRequest): Promise<void> | undefined {
    const { index, offset } = request;
    const piece = this.#options.cached(index)?.use();
    if (piece !== undefined) return this.#send(request, piece, offset);
    const ahead = this.#readAhead;
    if (ahead !== undefined && isInside(request, ahead))
      return this.#send(request, ahead.memory.use(), offset - ahead.offset);
    return this.#read(request).then(({ memory }) => this.#send(request, memory.use(), 0));
  }

  /** @param memory in use for this request: released when the bytes are sent */
  #send({ index, offset, length }: BlockRequest, memory: HeldPiece, at: number): undefined {
    this.#wire.sendPiece(index, offset, memory.bytes.subarray(at, at + length), memory.release);
    this.#options.onGiven(length);
  }

  /** Reads from the start of the request as far as makes sense, into memory that other reads used before. */
  async #read({ index, offset, length }: BlockRequest): Promise<ReadAhead> {
    const { geometry, storage, cache } = this.#options;
    this.#readAhead?.memory.release();
    this.#readAhead = undefined;
    const { start, end } = pieceSpan(geometry, index);
    const most = cache.isStrained ? length : Math.max(length, Math.min(READ_BYTES, end - start - offset));
    const buffer = takePieceBuffer(most);
    const bytes = await storage.read(start + offset, most, buffer).catch((error: unknown) => {
      givePieceBuffer(buffer);
      throw error;
    });
    // A storage may have memory of its own.
    if (bytes.buffer !== buffer.buffer) givePieceBuffer(buffer);
    this.#readAhead = { index, offset, memory: cache.lend(bytes) };
    return this.#readAhead;
  }

  #reject({ index, offset, length }: BlockRequest): void {
    if (this.#wire.hasFast) this.#wire.reject(index, offset, length);
  }
}

function isInside(request: BlockRequest, { index, offset, memory }: ReadAhead): boolean {
  const at = request.offset - offset;
  return request.index === index && at >= 0 && at + request.length <= memory.bytes.length;
}

function keyOf({ index, offset, length }: BlockRequest): string {
  return `${index}/${offset}/${length}`;
}

/** Within its piece, and no longer than what this node said that it gives. */
function isBlock(geometry: PieceGeometry, index: number, offset: number, length: number): boolean {
  if (index >= geometry.pieceCount || length <= 0 || length > MAX_BLOCK || offset < 0 || index < 0)
    return false;
  const { start, end } = pieceSpan(geometry, index);
  return start + offset + length <= end;
}
