import { isQuayctlError } from '../../base/errors.ts';
import type { Http } from '../../http/http.ts';
import type { Semaphore } from '../../base/semaphore.ts';
import type { TorrentState } from '../peers/torrent-state.ts';
import type { TrackerTokens } from './tracker-tokens.ts';
import type { TrackerAddress } from '../../metainfo/tracker-address.ts';
import { TrackerFailure, type Announce, type TrackerAnswer, type TrackerEvent } from './announce.ts';
import { announceTo } from './tracker.ts';

/** While few peers are known: soon, then less and less often. Milliseconds. */
const EARLY_FIRST_MS = 1500;
const EARLY_GROWTH = 1.7;
/** So many connected peers are enough. */
const ENOUGH_PEERS = 8;
const DEFAULT_INTERVAL_MS = 10 * 60_000;
/** A tracker must not make us ask without pause, nor never again. */
const MIN_INTERVAL_MS = 30_000;
const MAX_INTERVAL_MS = 60 * 60_000;
const RETRY_FIRST_MS = 2000;
const RETRY_MOST_MS = 5 * 60_000;
/** The longest wait for a tracker's answer. */
const ANSWER_TIMEOUT_MS = 10_000;
const STOPPED_TIMEOUT_MS = 2000;
const WANTED_PEERS = 50;

/**
 * Which other peers are in a swarm: none, only such that miss pieces, or also some that have everything; unknown where
 * no tracker has answered.
 */
export type Company = 'unknown' | 'none' | 'leechers' | 'seeders';

export interface AnnouncerOptions {
  /** The trackers' URLs, kept fresh. */
  readonly tokens: TrackerTokens;
  /** What stays the same in every announce. */
  readonly identity: Pick<Announce, 'infoHash' | 'peerId' | 'port' | 'ip'>;
  readonly state: TorrentState;
  readonly onWarning: (message: string) => void;
  readonly gate: Semaphore;
  readonly http: Http;
}

/** Tells the trackers of one torrent about this node, and hears about others. */
export class Announcer {
  readonly #stop = new AbortController();
  readonly #rounds: Round[];
  readonly #firstAnswer = Promise.withResolvers<Company>();
  #unanswered: number;
  #isAnswered = false;

  constructor(options: AnnouncerOptions) {
    const { trackers } = options.tokens;
    this.#rounds = trackers.map((tracker) => new Round(tracker, options, this.#stop.signal));
    this.#unanswered = this.#rounds.length;
    if (this.#unanswered === 0) this.#firstAnswer.resolve('unknown');
  }

  /** By the first tracker that names somebody; else once all have answered or failed. */
  get firstAnswer(): Promise<Company> {
    return this.#firstAnswer.promise;
  }

  start(): void {
    for (const round of this.#rounds) {
      round.start((company) => {
        this.#unanswered--;
        this.#isAnswered ||= company !== 'unknown';
        if (company === 'leechers' || company === 'seeders') this.#firstAnswer.resolve(company);
        else if (this.#unanswered === 0) this.#firstAnswer.resolve(this.#isAnswered ? 'none' : 'unknown');
      });
    }
  }

  /** Asks again at once: peers are missing. */
  hurry(): void {
    for (const round of this.#rounds) round.hurry();
  }

  completed(): void {
    for (const round of this.#rounds) round.completed();
  }

  /** Sends `stopped` where `started` arrived; waits at most 2 s. Never throws. */
  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#firstAnswer.resolve('unknown');
    const signal = AbortSignal.timeout(STOPPED_TIMEOUT_MS);
    await Promise.all(this.#rounds.map((round) => round.stopped(signal)));
  }
}

/** One tracker's turn, again and again. */
class Round {
  /** Which of the torrent's trackers. */
  readonly #tracker: TrackerAddress;
  readonly #options: AnnouncerOptions;
  readonly #signal: AbortSignal;
  #timer: NodeJS.Timeout | undefined;
  /** `started` was sent; perhaps its answer never came. */
  #told = false;
  #started = false;
  #failures = 0;
  #early = EARLY_FIRST_MS;
  #busy = false;
  #lastAt = -Infinity;
  #minIntervalMs = EARLY_FIRST_MS;
  #lastWarning: string | undefined;

  constructor(tracker: TrackerAddress, options: AnnouncerOptions, signal: AbortSignal) {
    this.#tracker = tracker;
    this.#options = options;
    this.#signal = signal;
    signal.addEventListener('abort', () => clearTimeout(this.#timer), { once: true });
  }

  start(onFirst: (company: Company) => void): void {
    void this.#turn().then((answer) => onFirst(answer === undefined ? 'unknown' : companyIn(answer)));
  }

  hurry(): void {
    if (this.#busy || this.#failures > 0) return;
    this.#next(Math.max(0, this.#lastAt + this.#minIntervalMs - performance.now()));
  }

  completed(): void {
    if (this.#started) void this.#turn('completed');
  }

  async stopped(signal: AbortSignal): Promise<void> {
    if (!this.#told) return;
    try {
      const { gate, tokens } = this.#options;
      await gate.run(() => this.#send(tokens.current(this.#tracker), 'stopped', signal), signal);
    } catch {
      // The tracker forgets us by itself; leaving must not fail.
    }
  }

  async #turn(event?: TrackerEvent): Promise<TrackerAnswer | undefined> {
    clearTimeout(this.#timer);
    if (this.#signal.aborted) return undefined;
    this.#busy = true;
    try {
      const answer = await this.#options.gate.run(() => this.#announce(event), this.#signal);
      this.#answered(answer);
      return answer;
    } catch (error) {
      this.#failed(error);
      return undefined;
    } finally {
      this.#busy = false;
    }
  }

  /** With a token that is good for a while yet; a refused one is renewed, once. */
  async #announce(event: TrackerEvent | undefined): Promise<TrackerAnswer> {
    const { tokens } = this.#options;
    const tracker = await tokens.fresh(this.#tracker, this.#signal);
    const send = (to: TrackerAddress): Promise<TrackerAnswer> => {
      const timeout = AbortSignal.any([this.#signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
      return this.#send(to, event ?? (this.#started ? undefined : 'started'), timeout);
    };
    try {
      return await send(tracker);
    } catch (error) {
      const renewed = isTokenRefusal(error) ? await tokens.replaced(tracker, this.#signal) : undefined;
      if (renewed === undefined) throw error;
      return send(renewed).catch((again: unknown) => {
        throw isTokenRefusal(again) ? freshTokenRefused(again) : again;
      });
    }
  }

  #send(
    tracker: TrackerAddress,
    event: TrackerEvent | undefined,
    signal: AbortSignal,
  ): Promise<TrackerAnswer> {
    const { identity, state } = this.#options;
    this.#told = true;
    const numwant = event === 'stopped' ? 0 : WANTED_PEERS;
    const announce = { ...identity, ...countsOf(state), numwant, ...(event === undefined ? {} : { event }) };
    return announceTo(tracker, announce, this.#options.http, signal);
  }

  #answered(answer: TrackerAnswer): void {
    if (this.#signal.aborted) return;
    this.#started = true;
    this.#failures = 0;
    this.#lastAt = performance.now();
    if (answer.warning !== undefined) this.#warn(answer.warning);
    const { state } = this.#options;
    state.swarmSize = answer.size?.leechers ?? state.swarmSize;
    state.othersNamed = Math.max(state.othersNamed, othersIn(answer));
    for (const peer of answer.peers) state.emit('peerNamed', peer);
    const interval = Math.min(
      Math.max(answer.intervalMs ?? DEFAULT_INTERVAL_MS, MIN_INTERVAL_MS),
      MAX_INTERVAL_MS,
    );
    // What a tracker does not forbid is allowed: `min interval` is its word on that.
    if (answer.minIntervalMs !== undefined) this.#minIntervalMs = Math.min(answer.minIntervalMs, interval);
    const few = !state.pieces.isComplete && state.peers.size < ENOUGH_PEERS;
    const early = Math.max(this.#early, this.#minIntervalMs);
    if (few) this.#early *= EARLY_GROWTH;
    // Later rather than sooner, and not all torrents of this node at once.
    this.#next(few ? Math.min(early, interval) : interval * (1 + Math.random() / 10));
  }

  #failed(error: unknown): void {
    if (this.#signal.aborted) return;
    this.#options.state.emit('trackerFailed');
    this.#warn(isQuayctlError(error) ? error.message : 'does not answer');
    const delay = Math.min(RETRY_FIRST_MS * 2 ** this.#failures, RETRY_MOST_MS);
    this.#failures++;
    this.#next(delay);
  }

  #next(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#signal.aborted) return;
    this.#timer = setTimeout(() => void this.#turn(), ms).unref();
  }

  /** Once for each text: a tracker that is down is asked often. */
  #warn(message: string): void {
    if (message === this.#lastWarning) return;
    this.#lastWarning = message;
    this.#options.onWarning(`tracker ${this.#tracker.name}: ${message}`);
  }
}

function countsOf({ stats, metainfo }: TorrentState): Pick<Announce, 'uploaded' | 'downloaded' | 'left'> {
  return {
    uploaded: stats.uploaded,
    downloaded: stats.fromPeers + stats.fromRegistry,
    left: metainfo.geometry.length - stats.bytes,
  };
}

function companyIn(answer: TrackerAnswer): Company {
  if (othersIn(answer) === 0) return 'none';
  return (answer.size?.seeds ?? 0) > 0 ? 'seeders' : 'leechers';
}

/** Peers besides ourselves, who are counted, and often named. */
function othersIn({ peers, size }: TrackerAnswer): number {
  return size === undefined
    ? peers.length
    : Math.min(peers.length, Math.max(0, size.seeds + size.leechers - 1));
}

function isTokenRefusal(error: unknown): boolean {
  return error instanceof TrackerFailure && error.refusesToken;
}

function freshTokenRefused(cause: unknown): TrackerFailure {
  const reason =
    "refuses a token that was made just now: its clock and the torrent service's differ, it does not have the service's keys, or its issuer or audience is not the service's (--public-url and --announce, to the letter)";
  return new TrackerFailure(reason, { refusesToken: true, cause });
}
