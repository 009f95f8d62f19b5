import { setTimeout as sleep } from 'node:timers/promises';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import { pieceSpan, type PieceGeometry } from '../../metainfo/geometry.ts';
import { givePieceBuffer } from '../pieces/piece-buffers.ts';
import type { OpenPiece } from '../pieces/pieces.ts';
import type { TorrentState } from '../peers/torrent-state.ts';
import { PieceAssembly } from './piece-assembly.ts';
import { RegistryBackoff } from './registry-backoff.ts';
import { DeliveryMeter, type Delivered } from '../pieces/delivery.ts';
import type { RangeSource } from '../swarm-client.ts';

/** Wrong bytes may be a broken transfer once; then the torrent and the registry mean different content. */
const MAX_BAD_PIECES = 2;

/** One range request: its piece that is arriving (after the end: none), and its last. */
interface Run {
  next: number;
  readonly last: number;
}

/** Takes what the registry brings. */
export interface RegistryPieceSink {
  /** A whole piece, whose bytes belong to the sink from now on. @returns false when they do not verify */
  take(index: number, bytes: Uint8Array): boolean;
  /** Resolves when more can be taken: the network may be faster than the disk. */
  ready(signal: AbortSignal): Promise<void>;
}

/**
 * The registry as a peer: pieces are opened by the FetchPolicy and come in runs of neighbours, one range request for
 * each run. Tells of `registryClosed` and `registryLost`.
 */
export class RegistrySeed {
  readonly #state: TorrentState;
  readonly #geometry: PieceGeometry;
  readonly #source: RangeSource;
  readonly #limiter: RateLimiter;
  readonly #sink: RegistryPieceSink;
  /** Ranges on their way. */
  readonly #runs = new Set<Run>();
  /** Pieces at which the registry failed -> until when they are not asked for, milliseconds. */
  readonly #backoffUntil = new Map<number, number>();
  readonly #end = new AbortController();
  readonly #backoff = new RegistryBackoff();
  #badPieces = 0;
  #lost: unknown;
  #received = 0;
  readonly #meter = new DeliveryMeter();

  constructor(state: TorrentState, source: RangeSource, limiter: RateLimiter, sink: RegistryPieceSink) {
    this.#state = state;
    this.#geometry = state.metainfo.geometry;
    this.#source = source;
    this.#limiter = limiter;
    this.#sink = sink;
    state.on('pieceVerified', (index) => this.release([index]));
  }

  get open(): ReadonlyMap<number, OpenPiece> {
    return this.#open;
  }

  get delivered(): Delivered {
    return this.#meter.total(performance.now());
  }

  get #open(): Map<number, { requested: boolean; received: number }> {
    return this.#state.pieces.fromRegistry;
  }

  /** Bytes received, wasted ones included. */
  get received(): number {
    return this.#received;
  }

  /** Why it has been given up; undefined while it has not. */
  get lost(): unknown {
    return this.#lost;
  }

  isBackingOff(index: number): boolean {
    const until = this.#backoffUntil.get(index);
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
    this.#backOff(index);
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
    const geometry = this.#geometry;
    const [first, last] = [pieces[0] ?? 0, pieces.at(-1) ?? 0];
    const run: Run = { next: first, last };
    this.#runs.add(run);
    const { start } = pieceSpan(geometry, first);
    const { end } = pieceSpan(geometry, last);
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#end.signal, stop.signal]);
    const assembly = new PieceAssembly(geometry, first);
    this.#mark(first);
    let hasBegun = false;
    let heardAt = performance.now();
    const silence = this.#backoff.silenceMs;
    const watch = setInterval(() => {
      if (performance.now() - heardAt > silence)
        stop.abort(new QuayctlError('unreachable', 'the registry does not answer'));
    }, silence / 4);
    try {
      for await (const chunk of this.#source(start, end, signal)) {
        // What waits for its turn, or for the disk, is no silence.
        heardAt = Infinity;
        // Peers first: what they have need not come again, and their messages say what is being fetched.
        await this.#limiter.takeLast(chunk.length, signal);
        heardAt = performance.now();
        this.#received += chunk.length;
        if (hasBegun) this.#meter.came(chunk.length);
        else this.#meter.begins(heardAt);
        hasBegun = true;
        this.#backoff.heard();
        for (const { index, bytes } of assembly.add(chunk)) {
          this.#backoff.pieceCame();
          run.next = index + 1;
          this.#handOver(index, bytes);
          heardAt = Infinity;
          await this.#sink.ready(signal);
          heardAt = performance.now();
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
      if (hasBegun) this.#meter.ends(performance.now());
      this.#runs.delete(run);
      // Also where the run ended early: the rest of the range is not wanted.
      stop.abort();
      this.#state.stats.wasted += assembly.drop();
    }
  }

  #mark(index: number): void {
    const piece = this.#open.get(index);
    if (piece !== undefined) piece.requested = true;
  }

  #handOver(index: number, bytes: Uint8Array): void {
    if (!this.#open.delete(index)) {
      this.#state.stats.wasted += bytes.length;
      givePieceBuffer(bytes);
    } else if (!this.#sink.take(index, bytes)) this.#bad(index);
  }

  #failed(run: readonly number[], error: unknown, heardAt: number): void {
    const isHopeless = this.#backoff.failed(Math.min(heardAt, performance.now()));
    const closed = run.filter((index) => this.#open.delete(index));
    for (const index of closed) this.#backOff(index);
    if (isHopeless || isQuayctlError(error, 'unauthorized', 'not-found')) this.#giveUp(error);
    this.#state.emit('registryClosed', closed);
  }

  #backOff(index: number): void {
    this.#backoffUntil.set(index, performance.now() + this.#backoff.restMs);
  }

  #giveUp(error: unknown): void {
    const isNews = this.#lost === undefined;
    this.#lost ??= error;
    const closed = [...this.#open.keys()];
    this.close();
    this.#state.emit('registryClosed', closed);
    if (isNews) this.#state.emit('registryLost', this.#lost);
  }
}
