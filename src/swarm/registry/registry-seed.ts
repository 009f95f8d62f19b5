import { setTimeout as sleep } from 'node:timers/promises';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import { pieceSpan, type PieceGeometry } from '../../metainfo/geometry.ts';
import { givePieceBuffer, takePieceBuffer } from '../pieces/piece-buffers.ts';
import { RegistryBackoff } from './registry-backoff.ts';
import type { OpenPiece } from '../claims/fetch-policy.ts';
import type { RangeSource } from '../swarm-client.ts';

/** Wrong bytes may be a broken transfer once; then the torrent and the registry mean different content. */
const MAX_BAD_PIECES = 2;

interface Open extends OpenPiece {
  requested: boolean;
  received: number;
}

/** One range request: its piece that is arriving (after the end: none), and its last. */
interface Run {
  next: number;
  readonly last: number;
}

export interface RegistrySeedOptions {
  readonly source: RangeSource;
  readonly geometry: PieceGeometry;
  readonly limiter: RateLimiter;
  /** A whole piece, whose bytes belong to whoever is told. @returns false when they do not verify */
  readonly onPiece: (index: number, bytes: Uint8Array) => boolean;
  /** Resolves when more can be taken: the network may be faster than the disk. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  /** Received and of no use. */
  readonly onWasted: (bytes: number) => void;
  /** Pieces were let go because of a failure; they are resting, or the registry has been given up. */
  readonly onClosed: (indexes: readonly number[]) => void;
}

/**
 * The registry as a peer: pieces are opened by the FetchPolicy and come in runs of neighbours, one range request
 * for each run.
 */
export class RegistrySeed {
  readonly #options: RegistrySeedOptions;
  readonly #open = new Map<number, Open>();
  /** Ranges on their way. */
  readonly #runs = new Set<Run>();
  readonly #restingUntil = new Map<number, number>();
  readonly #end = new AbortController();
  readonly #patience = new RegistryBackoff();
  #badPieces = 0;
  #lost: unknown;
  #received = 0;
  #pieceMs: number | undefined;

  constructor(options: RegistrySeedOptions) {
    this.#options = options;
  }

  get open(): ReadonlyMap<number, OpenPiece> {
    return this.#open;
  }

  /** Bytes received, wasted ones included. */
  get received(): number {
    return this.#received;
  }

  /** A running mean, milliseconds from the request (or the former piece of its run) to the last byte. */
  get pieceMs(): number | undefined {
    return this.#pieceMs;
  }

  /** Why it has been given up; undefined while it has not. */
  get lost(): unknown {
    return this.#lost;
  }

  isResting(index: number): boolean {
    const until = this.#restingUntil.get(index);
    return until !== undefined && until > performance.now();
  }

  /** @param delayMs before the requests go out; until then pieces can be let go at no cost */
  fetch(indexes: readonly number[], delayMs: number): void {
    if (this.#end.signal.aborted) return;
    // What was let go and is opened anew may be arriving at this moment.
    const runs = [...this.#runs];
    for (const index of indexes) {
      const requested = runs.some(({ next, last }) => next === index && index <= last);
      this.#open.set(index, { requested, received: 0 });
    }
    if (delayMs === 0) return this.#startRuns(indexes);
    void sleep(delayMs, undefined, { signal: this.#end.signal }).then(
      () => this.#startRuns(indexes),
      () => {},
    );
  }

  /** Lets pieces go; a run ends before the first of them, in the midst of one that is arriving. */
  release(indexes: readonly number[]): void {
    for (const index of indexes) this.#open.delete(index);
  }

  close(): void {
    this.#end.abort();
    this.#open.clear();
  }

  #bad(index: number): void {
    this.#rest(index);
    if (++this.#badPieces < MAX_BAD_PIECES) return;
    // `protocol`, not `verification`: which of the two is wrong is decided by the digest, when all is there.
    this.#giveUp(new QuayctlError('protocol', 'the registry sends other bytes than the torrent describes'));
  }

  #startRuns(indexes: readonly number[]): void {
    let run: number[] = [];
    for (const index of indexes) {
      if (this.#open.get(index)?.requested !== false || this.#isOnItsWay(index)) continue;
      if (run.length > 0 && run.at(-1) !== index - 1) {
        void this.#run(run);
        run = [];
      }
      run.push(index);
    }
    if (run.length > 0) void this.#run(run);
  }

  /** It was let go and is opened anew, and the range that it was part of has not come to it yet. */
  #isOnItsWay(index: number): boolean {
    for (const { next, last } of this.#runs) if (next <= index && index <= last) return true;
    return false;
  }

  async #run(pieces: readonly number[]): Promise<void> {
    const { geometry, source } = this.#options;
    const [first, last] = [pieces[0] ?? 0, pieces.at(-1) ?? 0];
    const run: Run = { next: first, last };
    this.#runs.add(run);
    const { start } = pieceSpan(geometry, first);
    const { end } = pieceSpan(geometry, last);
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#end.signal, stop.signal]);
    const assembly = new Assembly(geometry, first);
    this.#mark(first);
    let startedAt = performance.now();
    let heardAt = startedAt;
    const silence = this.#patience.silenceMs;
    const watch = setInterval(() => {
      if (performance.now() - heardAt > silence)
        stop.abort(new QuayctlError('unreachable', 'the registry does not answer'));
    }, silence / 4);
    try {
      for await (const chunk of source(start, end, signal)) {
        // What waits for its turn, or for the disk, is no silence.
        heardAt = Infinity;
        await this.#options.limiter.take(chunk.length, signal);
        heardAt = performance.now();
        this.#received += chunk.length;
        this.#patience.heard();
        for (const { index, bytes } of assembly.add(chunk)) {
          this.#patience.pieceCame();
          const now = performance.now();
          this.#learn(now - startedAt);
          run.next = index + 1;
          this.#handOver(index, bytes);
          heardAt = Infinity;
          await this.#options.ready(signal);
          heardAt = performance.now();
          startedAt = performance.now();
          if (index < last) this.#mark(index + 1);
        }
        // Read to its end, so that its connection can be used again.
        if (assembly.next > last) continue;
        // The rest of the range is not wanted where a piece was let go; what lies behind it still is.
        const arriving = this.#open.get(assembly.next);
        if (arriving === undefined) {
          this.#runs.delete(run);
          return this.#startRuns(pieces.filter((later) => later > assembly.next));
        }
        arriving.received = assembly.filled;
      }
      if (assembly.next <= last) throw new QuayctlError('protocol', 'the registry sent less than a piece');
    } catch (error) {
      this.#runs.delete(run);
      if (this.#end.signal.aborted) return;
      const missing = pieces.filter((index) => index >= assembly.next);
      this.#failed(missing, stop.signal.aborted ? stop.signal.reason : error, heardAt);
    } finally {
      clearInterval(watch);
      this.#runs.delete(run);
      // Also where the run ended early: the rest of the range is not wanted.
      stop.abort();
      this.#options.onWasted(assembly.drop());
    }
  }

  #mark(index: number): void {
    const piece = this.#open.get(index);
    if (piece !== undefined) piece.requested = true;
  }

  #handOver(index: number, bytes: Uint8Array): void {
    if (!this.#open.delete(index)) {
      this.#options.onWasted(bytes.length);
      givePieceBuffer(bytes);
    } else if (!this.#options.onPiece(index, bytes)) this.#bad(index);
  }

  #learn(ms: number): void {
    this.#pieceMs = this.#pieceMs === undefined ? ms : this.#pieceMs * 0.7 + ms * 0.3;
  }

  #failed(run: readonly number[], error: unknown, heardAt: number): void {
    const isHopeless = this.#patience.failed(Math.min(heardAt, performance.now()));
    const closed = run.filter((index) => this.#open.delete(index));
    for (const index of closed) this.#rest(index);
    if (isHopeless || isQuayctlError(error, 'unauthorized', 'not-found')) this.#giveUp(error);
    this.#options.onClosed(closed);
  }

  #rest(index: number): void {
    this.#restingUntil.set(index, performance.now() + this.#patience.restMs);
  }

  #giveUp(error: unknown): void {
    this.#lost ??= error;
    const closed = [...this.#open.keys()];
    this.close();
    this.#options.onClosed(closed);
  }
}

/** Puts chunks of a run together into pieces. */
class Assembly {
  readonly #geometry: PieceGeometry;
  /** The piece that is being put together. */
  next: number;
  #piece: Uint8Array | undefined;
  #filled = 0;

  constructor(geometry: PieceGeometry, first: number) {
    this.#geometry = geometry;
    this.next = first;
  }

  *add(chunk: Uint8Array): Generator<{ index: number; bytes: Uint8Array }> {
    let rest = chunk;
    while (rest.length > 0) {
      this.#piece ??= this.#empty();
      const part = rest.subarray(0, this.#piece.length - this.#filled);
      this.#piece.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled < this.#piece.length) return;
      const bytes = this.#piece;
      this.#piece = undefined;
      this.#filled = 0;
      yield { index: this.next++, bytes };
    }
  }

  /** Bytes of the piece that is being put together. */
  get filled(): number {
    return this.#filled;
  }

  /** @returns bytes of a piece that is not whole */
  drop(): number {
    if (this.#piece !== undefined) givePieceBuffer(this.#piece);
    this.#piece = undefined;
    return this.#filled;
  }

  #empty(): Uint8Array {
    const { start, end } = pieceSpan(this.#geometry, this.next);
    return takePieceBuffer(end - start);
  }
}
