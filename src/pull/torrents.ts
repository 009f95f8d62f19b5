import { delay } from '../base/retry.ts';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { decodeTorrent, withoutSecrets, type Metainfo } from '../metainfo/metainfo.ts';
import type { TrackerAddress } from '../metainfo/tracker-address.ts';
import type { TorrentAnswer } from '../registry/repository.ts';
import type { FetchWorld } from './world.ts';

/** Hashing is waited for while it is estimated to take less than this, or a tenth of the download. */
const PATIENCE_SECONDS = 2;
const PATIENCE_SHARE = 0.1;
/** An answer that was asked for ahead of time is good for so long: the announce token in it ages. */
const EARLY_MS = 60_000;
/** The protocol's upper bound of `?wait=`. */
const LONGEST_WAIT_SECONDS = 60;

/** What is known of a blob's torrent when its download is to begin. */
export type TorrentPlan =
  | { readonly kind: 'torrent'; readonly metainfo: Metainfo }
  /** Piece hashes are still being made: begin without, join when it comes. */
  | { readonly kind: 'later'; readonly metainfo: (signal: AbortSignal) => Promise<Metainfo | undefined> }
  /** `refused`: the service did not let us have it (401, 403). */
  | { readonly kind: 'none'; readonly reason: string; readonly refused?: QuayctlError };

type FinderWorld = Pick<FetchWorld, 'store' | 'listener' | 'torrents'>;

/** Asks the torrent service, one question first, so that a host without torrents is asked once and not per layer. */
export class TorrentFinder {
  readonly #world: FinderWorld;
  readonly #early = new Map<Digest, { readonly answer: Promise<TorrentAnswer>; readonly until: number }>();
  #first: Promise<TorrentAnswer> | undefined;
  #silent: string | undefined;
  #refused: QuayctlError | undefined;

  constructor(world: FinderWorld) {
    this.#world = world;
  }

  /** Asks before it is the blob's turn, so that the service hashes, and the answer travels, meanwhile. */
  askAhead(descriptor: Descriptor, signal: AbortSignal): void {
    const answer = this.#ask(descriptor, 0, signal);
    answer.catch(() => undefined);
    this.#early.set(descriptor.digest, { answer, until: performance.now() + EARLY_MS });
  }

  /**
   * @param downloadSeconds what the download itself would take, as far as is known; 0 for unknown
   * @throws QuayctlError `interrupted`; whatever else goes wrong is a `none` with its reason
   */
  async find(descriptor: Descriptor, downloadSeconds: number, signal: AbortSignal): Promise<TorrentPlan> {
    const patience = Math.max(PATIENCE_SECONDS, downloadSeconds * PATIENCE_SHARE);
    const deadline = performance.now() + patience * 1000;
    let answer = (await this.#earlyAnswer(descriptor.digest)) ?? (await this.#ask(descriptor, 0, signal));
    while (answer.kind === 'hashing' && answer.etaSeconds <= patience && performance.now() < deadline) {
      const askedAt = performance.now();
      answer = await this.#ask(descriptor, Math.ceil(Math.max(1, answer.etaSeconds)), signal);
      if (answer.kind !== 'hashing') break;
      // A service that does not hold its answer back is not asked without pause.
      const next = Math.min(deadline, askedAt + answer.retryAfterSeconds * 1000);
      await delay(Math.max(0, next - performance.now()), signal);
    }
    if (answer.kind === 'hashing') {
      return { kind: 'later', metainfo: (later) => this.#waitForHashes(descriptor, later) };
    }
    return this.#plan(descriptor, answer);
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
    const answer = await this.#world.torrents.torrent(descriptor, 0, signal);
    if (answer.kind !== 'torrent') throw new QuayctlError('no-torrent', `${what} is not to be had now`);
    const renewed = decodeTorrent(answer.bytes);
    if (renewed.infoHash === infoHash) return renewed.trackers;
    throw new QuayctlError('protocol', `${what} is another one now`);
  }

  async #earlyAnswer(digest: Digest): Promise<TorrentAnswer | undefined> {
    const early = this.#early.get(digest);
    this.#early.delete(digest);
    const answer = early === undefined || performance.now() > early.until ? undefined : await early.answer;
    // How far the hashing was by then says nothing now.
    return answer?.kind === 'hashing' ? undefined : answer;
  }

  async #waitForHashes(descriptor: Descriptor, signal: AbortSignal): Promise<Metainfo | undefined> {
    for (;;) {
      const answer = await this.#ask(descriptor, LONGEST_WAIT_SECONDS, signal);
      if (answer.kind !== 'hashing') {
        const plan = await this.#plan(descriptor, answer);
        return plan.kind === 'torrent' ? plan.metainfo : undefined;
      }
      await delay(answer.retryAfterSeconds * 1000, signal);
    }
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
      return await this.#world.torrents.torrent(descriptor, waitSeconds, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!isQuayctlError(error)) throw error;
      if (error.code === 'unauthorized') this.#warnOnce(error);
      // A service that is down stays down for the rest of this run: its time-out is paid once.
      if (error.code === 'unreachable') this.#silent = error.message;
      return { kind: 'none', reason: error.message };
    }
  }

  #warnOnce(refusal: QuayctlError): void {
    if (this.#refused !== undefined) return;
    this.#refused = refusal;
    const advice = refusal.hint === undefined ? '' : ` (${refusal.hint})`;
    this.#world.listener({ kind: 'warning', message: `${refusal.message}${advice}` });
  }

  async #plan(descriptor: Descriptor, answer: TorrentAnswer): Promise<TorrentPlan> {
    if (answer.kind === 'torrent') {
      const parsed = this.#parse(descriptor, answer.bytes);
      if (parsed.kind === 'torrent') {
        await this.#world.store.saveTorrent(descriptor.digest, withoutSecrets(answer.bytes));
      }
      return parsed;
    }
    const kept =
      this.#silent === undefined ? undefined : await this.#world.store.loadTorrent(descriptor.digest);
    if (kept !== undefined) {
      // The service is down, the swarm need not be: peers and the tracker are found as last time.
      const parsed = this.#parse(descriptor, kept);
      if (parsed.kind === 'torrent') return parsed;
    }
    const reason = answer.kind === 'none' ? answer.reason : 'still being hashed';
    return { kind: 'none', reason, ...(this.#refused === undefined ? {} : { refused: this.#refused }) };
  }

  /** A torrent of other bytes is told before a byte of it is fetched, as far as it can be told by then. */
  #parse(descriptor: Descriptor, bytes: Uint8Array): TorrentPlan {
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
      this.#world.listener({ kind: 'warning', message: reason });
      return { kind: 'none', reason };
    }
  }
}
