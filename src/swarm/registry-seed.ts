import { setTimeout as sleep } from 'node:timers/promises';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import type { RateLimiter } from '../base/rate-limiter.ts';
import { pieceSpan, type PieceGeometry } from '../metainfo/geometry.ts';
import type { OpenPiece } from './share-policy.ts';
import type { RangeSource } from './swarm-client.ts';

/** Pieces handed over that have not verified yet: bounds memory where the network is faster than the disk. */
const UNVERIFIED_BYTES = 4 * 1024 * 1024;
/** After so many failures on end, the registry is given up, ... */
const MAX_FAILURES = 4;
/** ... or when a run failed after so long without a byte: its source has tried again and again inside. */
const FRUITLESS_MS = 10_000;
const REST_FIRST_MS = 500;
/** Wrong bytes may be a broken transfer once; then the torrent and the registry mean different content. */
const MAX_BAD_PIECES = 2;
/** Buffers kept for the next pieces. */
const MAX_SPARE = 4;

interface Open extends OpenPiece {
  requested: boolean;
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
  /** A whole piece, not verified yet; `settled` is to be called when it has verified, or not. */
  readonly onPiece: (index: number, bytes: Uint8Array) => void;
  /** Received and of no use. */
  readonly onWasted: (bytes: number) => void;
  /** Pieces were let go because of a failure; they are resting, or the registry has been given up. */
  readonly onClosed: (indexes: readonly number[]) => void;
}

/**
 * The registry as a peer: pieces are opened by the SharePolicy and come in runs of neighbours, one range request
 * for each run.
 */
export class RegistrySeed {
  readonly #options: RegistrySeedOptions;
  readonly #open = new Map<number, Open>();
  /** Ranges on their way. */
  readonly #runs = new Set<Run>();
  readonly #restingUntil = new Map<number, number>();
  readonly #end = new AbortController();
  /** Handed over, not settled: bytes. */
  #unverified = 0;
  readonly #spare: Uint8Array[] = [];
  #onSettled = Promise.withResolvers<void>();
  #failures = 0;
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
      this.#open.set(index, { requested });
    }
    if (delayMs === 0) return this.#startRuns(indexes);
    void sleep(delayMs, undefined, { signal: this.#end.signal }).then(
      () => this.#startRuns(indexes),
      () => {},
    );
  }

  /** Lets pieces go; a run that has begun ends before the first of them. */
  release(indexes: readonly number[]): void {
    for (const index of indexes) this.#open.delete(index);
  }

  /** The piece that was handed over has verified, came from elsewhere, or was wrong. */
  settled(index: number, verdict: 'good' | 'bad'): void {
    if (!this.#open.delete(index)) return;
    if (verdict === 'bad') this.#bad(index);
    this.#onSettled.resolve();
    this.#onSettled = Promise.withResolvers();
  }

  close(): void {
    this.#end.abort();
    this.#open.clear();
    this.#onSettled.resolve();
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
    const assembly = new Assembly(geometry, first, this.#spare);
    this.#mark(first);
    let startedAt = performance.now();
    let heardAt = startedAt;
    try {
      for await (const chunk of source(start, end, signal)) {
        await this.#options.limiter.take(chunk.length, signal);
        heardAt = performance.now();
        this.#received += chunk.length;
        for (const { index, bytes } of assembly.add(chunk)) {
          this.#failures = 0;
          const now = performance.now();
          this.#learn(now - startedAt);
          run.next = index + 1;
          await this.#handOver(index, bytes);
          startedAt = performance.now();
          // The rest of the range is not wanted where its next piece was let go; what lies behind it still is.
          if (index < last && !this.#open.has(index + 1)) {
            this.#runs.delete(run);
            return this.#startRuns(pieces.filter((later) => later > index));
          }
          if (index < last) this.#mark(index + 1);
        }
      }
      if (assembly.next <= last) throw new QuayctlError('protocol', 'the registry sent less than a piece');
    } catch (error) {
      this.#runs.delete(run);
      if (!signal.aborted)
        this.#failed(
          pieces.filter((index) => index >= assembly.next),
          error,
          performance.now() - heardAt,
        );
    } finally {
      this.#runs.delete(run);
      // Also where the run ended early: the rest of the range is not wanted.
      stop.abort();
      this.#options.onWasted(assembly.pending);
    }
  }

  #mark(index: number): void {
    const piece = this.#open.get(index);
    if (piece !== undefined) piece.requested = true;
  }

  async #handOver(index: number, bytes: Uint8Array): Promise<void> {
    if (!this.#open.has(index)) return this.#options.onWasted(bytes.length);
    this.#unverified += bytes.length;
    this.#options.onPiece(index, bytes);
    void this.#untilSettled(index).then(() => {
      this.#unverified -= bytes.length;
      // Nobody looks at it any more; new ones for every piece would wait for the garbage collector.
      if (bytes.length === this.#options.geometry.pieceLength && this.#spare.length < MAX_SPARE) {
        this.#spare.push(bytes);
      }
    });
    while (this.#unverified >= UNVERIFIED_BYTES && !this.#end.signal.aborted) await this.#onSettled.promise;
  }

  async #untilSettled(index: number): Promise<void> {
    while (this.#open.has(index)) await this.#onSettled.promise;
  }

  #learn(ms: number): void {
    this.#pieceMs = this.#pieceMs === undefined ? ms : this.#pieceMs * 0.7 + ms * 0.3;
  }

  #failed(run: readonly number[], error: unknown, silentMs: number): void {
    this.#failures++;
    const closed = run.filter((index) => this.#open.delete(index));
    for (const index of closed) this.#rest(index);
    const isHopeless = this.#failures >= MAX_FAILURES || silentMs > FRUITLESS_MS;
    if (isHopeless || isQuayctlError(error, 'unauthorized', 'not-found')) this.#giveUp(error);
    this.#options.onClosed(closed);
  }

  #rest(index: number): void {
    this.#restingUntil.set(index, performance.now() + REST_FIRST_MS * 2 ** this.#failures);
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
  readonly #spare: Uint8Array[];
  /** The piece that is being put together. */
  next: number;
  #piece: Uint8Array | undefined;
  #filled = 0;

  constructor(geometry: PieceGeometry, first: number, spare: Uint8Array[]) {
    this.#geometry = geometry;
    this.#spare = spare;
    this.next = first;
  }

  /** Bytes of a piece that is not whole. */
  get pending(): number {
    return this.#filled;
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

  #empty(): Uint8Array {
    const { start, end } = pieceSpan(this.#geometry, this.next);
    const whole = end - start === this.#geometry.pieceLength;
    return (whole ? this.#spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(end - start);
  }
}
