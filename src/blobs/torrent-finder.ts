import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { delay } from '../base/retry.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { decodeTorrent, withoutSecrets, type Metainfo } from '../metainfo/metainfo.ts';
import type { AnnounceToken, TrackerAddress } from '../metainfo/tracker-address.ts';
import type { TorrentAnswer, TorrentService } from '../registry/repository.ts';
import type { LayerReport, ReportAnswer } from '../registry/service-reports.ts';
import type { Store } from '../store/store.ts';
import { askUntilMade } from './ask-until-made.ts';
import type { BlobListener } from './blob-events.ts';
import type { BlobSource } from './blob-source.ts';
import { obstacleText, type Obstacle } from './peer-use.ts';

/** The download waits for piece hashes that the service expects to have within this time, ... */
const MAX_HASH_WAIT_SECONDS = 2;
/** ... or within this part of the time that the download itself would take. Otherwise it begins at the registry. */
const MAX_HASH_WAIT_SHARE = 0.1;
/** How long an answer that was asked for ahead of time is used. After that the announce token in it is too old. */
const EARLY_MS = 60_000;
/** The protocol's upper bound of `?wait=`. */
const LONGEST_WAIT_SECONDS = 60;

const BEING_HASHED: Obstacle = {
  state: 'hashing',
  reason: 'the torrent service is still hashing this image',
  hint: 'it comes from the registry meanwhile; `quayctl serve prepare IMAGE` hashes ahead of time',
};
const BEING_READ: Obstacle = {
  state: 'hashing',
  reason:
    'the torrent service is reading this image from the registry for the first time, and passes on what it reads',
};

/** What is known of a blob's torrent when its download is to begin. */
export type TorrentPlan =
  | {
      readonly kind: 'torrent';
      readonly metainfo: Metainfo;
      /** The service, where it has the blob itself and is not the registry. */
      readonly atService?: BlobSource | undefined;
    }
  /** Piece hashes are still being made: begin without them, join the swarm when they come. */
  | {
      readonly kind: 'later';
      readonly metainfo: (signal: AbortSignal) => Promise<Metainfo | undefined>;
      /** The service gives the blob from the reading that makes the hashes: who follows it costs the registry nothing. */
      readonly isFollowed?: true | undefined;
      /** How far the service had read when it was asked, bytes; undefined: it will need a while yet. */
      readonly nearlyHashed?: number | undefined;
      /** The service, where it is that and is not the registry. */
      readonly atService?: BlobSource | undefined;
    }
  /** `refused`: the service answered 401 or 403. */
  | { readonly kind: 'none'; readonly reason: string; readonly refused?: QuayctlError };

export interface TorrentFinderOptions {
  readonly torrents: Pick<TorrentService, 'torrent' | 'isGiven' | 'host' | 'blob'> &
    Partial<Pick<TorrentService, 'serviceKeys' | 'report'>>;
  readonly store: Pick<Store, 'saveTorrent' | 'loadTorrent'>;
  readonly listener: BlobListener;
}

/**
 * Finds the torrents of one repository's blobs. The first question is asked alone, so that a host without torrents, or
 * one that does not answer, costs its time-out once and not once for each layer.
 */
export class TorrentFinder {
  readonly #options: TorrentFinderOptions;
  readonly #early = new Map<Digest, { readonly answer: Promise<TorrentAnswer>; readonly until: number }>();
  #first: Promise<TorrentAnswer> | undefined;
  #silent: string | undefined;
  #refused: QuayctlError | undefined;
  #obstacle: Obstacle | undefined;
  #isTold = false;

  constructor(options: TorrentFinderOptions) {
    this.#options = options;
  }

  /** What keeps torrents from being found, the last that was met; undefined while nothing does. */
  get obstacle(): Obstacle | undefined {
    return this.#obstacle;
  }

  /** The user named the torrent service (`--torrent-service`), and expects to hear of it when that is no good. */
  get isGiven(): boolean {
    return this.#options.torrents.isGiven === true;
  }

  /** Tells the user of the obstacle, once. */
  tellObstacle(): void {
    if (this.#obstacle === undefined || this.#isTold) return;
    this.#isTold = true;
    this.warn(this.#obstacle);
  }

  /** Tells why no bytes come from peers. Of one host that is told once in a run. */
  warn(obstacle: Obstacle): void {
    const { torrents, listener } = this.#options;
    const about = `peers by ${torrents.host ?? 'the torrent service'}`;
    listener({ kind: 'warning', message: obstacleText(obstacle), about });
  }

  /**
   * Waits for the answer to the first question, if one was asked.
   * @param mostMs after which the service counts as one that does not answer
   */
  async firstAnswer(mostMs: number, signal: AbortSignal): Promise<void> {
    if (this.#first === undefined) return;
    const enough = new AbortController();
    const tooLate = delay(mostMs, AbortSignal.any([signal, enough.signal])).then(() => 'late' as const);
    const first = await Promise.race([this.#first.catch(() => undefined), tooLate]).finally(() => {
      tooLate.catch(() => undefined);
      enough.abort();
    });
    if (first === 'late')
      this.#obstacle ??= {
        state: 'unavailable',
        reason: 'the torrent service had not answered when the pull was over',
        hint: 'check --torrent-service',
      };
  }

  /** Asks before the blob's download begins, so that the service hashes, and the answer travels, meanwhile. */
  askAhead(descriptor: Descriptor, signal: AbortSignal): void {
    const answer = this.#ask(descriptor, 0, signal);
    answer.catch(() => undefined);
    this.#early.set(descriptor.digest, { answer, until: performance.now() + EARLY_MS });
  }

  /**
   * @param downloadSeconds what the download itself would take, as far as is known; 0 for unknown
   * @throws the signal's reason; whatever else goes wrong is a `none` with its reason
   */
  async find(descriptor: Descriptor, downloadSeconds: number, signal: AbortSignal): Promise<TorrentPlan> {
    const waitSeconds = Math.max(MAX_HASH_WAIT_SECONDS, downloadSeconds * MAX_HASH_WAIT_SHARE);
    const deadline = performance.now() + waitSeconds * 1000;
    const first = (await this.#earlyAnswer(descriptor.digest)) ?? (await this.#ask(descriptor, 0, signal));
    let etaSeconds = 0;
    const ask = (): Promise<TorrentAnswer> =>
      this.#ask(descriptor, Math.ceil(Math.max(1, etaSeconds)), signal);
    const onHashing = (hashing: { readonly etaSeconds: number }): number => {
      etaSeconds = hashing.etaSeconds;
      return etaSeconds <= waitSeconds ? deadline - performance.now() : 0;
    };
    const answer = await askUntilMade(ask, signal, onHashing, first);
    if (answer.kind !== 'hashing') return this.#plan(descriptor, answer);
    const { isFollowed } = answer;
    this.#obstacle = isFollowed === undefined ? BEING_HASHED : BEING_READ;
    return {
      kind: 'later',
      metainfo: (later) => this.#waitForHashes(descriptor, later),
      isFollowed,
      nearlyHashed: answer.etaSeconds <= MAX_HASH_WAIT_SECONDS ? answer.hashed : undefined,
      atService: isFollowed === undefined ? undefined : this.#service(),
    };
  }

  /** As `find`, but waits for as long as the service hashes. */
  async findOrWait(
    descriptor: Descriptor,
    signal: AbortSignal,
  ): Promise<Exclude<TorrentPlan, { kind: 'later' }>> {
    const plan = await this.find(descriptor, 0, signal);
    if (plan.kind !== 'later') return plan;
    const metainfo = await plan.metainfo(signal);
    return metainfo === undefined ? { kind: 'none', reason: 'no torrent' } : { kind: 'torrent', metainfo };
  }

  /**
   * The trackers of a torrent that was found before, with fresh announce tokens: the torrent is asked for again.
   * @throws QuayctlError as the service, `protocol` where the blob has another torrent now; the signal's reason
   */
  async renewTrackers(
    descriptor: Descriptor,
    { infoHash }: Metainfo,
    signal: AbortSignal,
  ): Promise<readonly TrackerAddress[]> {
    const what = `the torrent of ${shortDigest(descriptor.digest)}`;
    const answer = await this.#options.torrents.torrent(descriptor, 0, signal);
    if (answer.kind !== 'torrent') throw new QuayctlError('no-torrent', `${what} is not available now`);
    const renewed = decodeTorrent(answer.bytes);
    if (renewed.infoHash === infoHash) return renewed.trackers;
    throw new QuayctlError('protocol', `${what} has changed`);
  }

  /** For JoinOptions: the keys with which the service signs announce tokens; none where nobody can be asked. */
  admission(signal: AbortSignal): { serviceKeys?: (kid: string) => Promise<unknown> } {
    const { torrents } = this.#options;
    const ask = torrents.serviceKeys?.bind(torrents);
    return ask === undefined ? {} : { serviceKeys: (kid) => ask(kid, signal) };
  }

  /** Tells the service how a layer arrives. @throws QuayctlError as TorrentService.report */
  report(token: AnnounceToken, report: LayerReport, signal: AbortSignal): Promise<ReportAnswer> {
    const { torrents } = this.#options;
    return torrents.report?.(token, report, signal) ?? Promise.resolve('unwanted' as const);
  }

  async #earlyAnswer(digest: Digest): Promise<TorrentAnswer | undefined> {
    const early = this.#early.get(digest);
    this.#early.delete(digest);
    const answer = early === undefined || performance.now() > early.until ? undefined : await early.answer;
    // How far the hashing was by then says nothing now.
    return answer?.kind === 'hashing' ? undefined : answer;
  }

  #service(): BlobSource | undefined {
    const { blob: open } = this.#options.torrents;
    return open === undefined ? undefined : { open };
  }

  async #waitForHashes(descriptor: Descriptor, signal: AbortSignal): Promise<Metainfo | undefined> {
    const ask = (): Promise<TorrentAnswer> => this.#ask(descriptor, LONGEST_WAIT_SECONDS, signal);
    const plan = await this.#plan(descriptor, await askUntilMade(ask, signal));
    return plan.kind === 'torrent' ? plan.metainfo : undefined;
  }

  async #ask(descriptor: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    if (this.#first !== undefined) await this.#first;
    if (this.#silent !== undefined) return { kind: 'none', reason: this.#silent };
    const question = this.#answer(descriptor, waitSeconds, signal);
    this.#first ??= question;
    return question;
  }

  async #answer(descriptor: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    try {
      const answer = await this.#options.torrents.torrent(descriptor, waitSeconds, signal);
      if (answer.kind === 'none') this.#obstacle = this.#obstacleOf(answer);
      else this.#obstacle = undefined;
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      if (!isQuayctlError(error)) throw error;
      if (error.code === 'unauthorized') this.#refused ??= error;
      this.#obstacle = {
        state: error.code === 'unauthorized' ? 'refused' : 'unavailable',
        reason: error.message,
        hint: error.hint,
      };
      if (error.code === 'unauthorized') this.tellObstacle();
      // A service that is down stays down for the rest of this run: its time-out is paid once.
      if (error.code === 'unreachable') this.#silent = error.message;
      return { kind: 'none', reason: error.message };
    }
  }

  #obstacleOf({ reason, isService }: TorrentAnswer & { readonly kind: 'none' }): Obstacle {
    if (isService === true) return { state: 'no-torrent', reason };
    const hint = this.isGiven
      ? '--torrent-service must name a torrent service, such as `quayctl serve`'
      : '--torrent-service URL names a torrent service for it';
    return { state: 'no-service', reason, hint };
  }

  async #plan(
    descriptor: Descriptor,
    answer: TorrentAnswer,
  ): Promise<Exclude<TorrentPlan, { kind: 'later' }>> {
    const { store } = this.#options;
    if (answer.kind === 'torrent') {
      const parsed = this.#parse(descriptor, answer.bytes);
      if (parsed.kind === 'torrent') {
        await store.saveTorrent(descriptor.digest, withoutSecrets(answer.bytes));
        return answer.isCached === undefined ? parsed : { ...parsed, atService: this.#service() };
      }
      return parsed;
    }
    const kept = this.#silent === undefined ? undefined : await store.loadTorrent(descriptor.digest);
    if (kept !== undefined) {
      // The service is down, the swarm need not be: its peers and its tracker are found as last time.
      const parsed = this.#parse(descriptor, kept);
      if (parsed.kind === 'torrent' && parsed.metainfo.peers === 'tls') {
        return { kind: 'none', reason: this.#noToken(this.#silent ?? '') };
      }
      if (parsed.kind === 'torrent') return parsed;
    }
    const reason = answer.kind === 'none' ? answer.reason : 'still being hashed';
    return { kind: 'none', reason, ...(this.#refused === undefined ? {} : { refused: this.#refused }) };
  }

  /** The swarm of a torrent that the store kept is closed to a node without a token, and nobody gives one now. */
  #noToken(why: string): string {
    const reason = `only nodes with a live token may be in its swarm, and none can be had (${why})`;
    this.#obstacle = { state: 'unavailable', reason };
    this.tellObstacle();
    return reason;
  }

  /** Refuses a torrent of other bytes before any of them is fetched, as far as the torrent says what it is of. */
  #parse(descriptor: Descriptor, bytes: Uint8Array): Exclude<TorrentPlan, { kind: 'later' }> {
    try {
      const metainfo = decodeTorrent(bytes);
      if (metainfo.geometry.length !== descriptor.size) {
        throw new QuayctlError(
          'protocol',
          `the torrent is of ${metainfo.geometry.length} bytes, the blob of ${descriptor.size}`,
        );
      }
      if (metainfo.digest !== undefined && metainfo.digest !== descriptor.digest) {
        throw new QuayctlError('protocol', `the torrent is of ${shortDigest(metainfo.digest)}`);
      }
      return { kind: 'torrent', metainfo };
    } catch (error) {
      if (!isQuayctlError(error)) throw error;
      const reason = `torrent of ${shortDigest(descriptor.digest)} refused: ${error.message}`;
      this.#options.listener({ kind: 'warning', message: reason });
      return { kind: 'none', reason };
    }
  }
}
