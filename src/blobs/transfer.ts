import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import type { RateLimiter } from '../base/rate-limiter.ts';
import { shortDigest } from '../image/digest.ts';
import type { Metainfo } from '../metainfo/metainfo.ts';
import { BESIDE_PEERS } from '../registry/resuming.ts';
import type { PartialBlob, Span } from '../store/blob-store.ts';
import type { SwarmClient } from '../swarm/swarm-client.ts';
import type { BlobListener } from './blob-events.ts';
import type { BlobOrigin } from './blob-origin.ts';
import { nearestSource, type BlobSource } from './blob-source.ts';
import { nextState, type DownloadState, type EventOf, type WorkingState } from './download-states.ts';
import { fillGaps } from './fill-gaps.ts';
import { LayerReporter } from './layer-reporter.ts';
import type { Reports } from './reports.ts';
import type { Seeds } from './seeds.ts';
import type { TorrentPlan } from './torrent-finder.ts';
import { TransferLedger, type ThroughputEstimate } from './transfer-ledger.ts';
import { readUntilHashed } from './until-hashed.ts';

/** Blobs below this size are asked of the registry first, because a swarm costs more time than it saves for them. */
export const SMALL_BLOB_BYTES = 1024 * 1024;
/**
 * After this time peers are asked for a small blob as well, so that a registry that hangs does not hold up the pull.
 */
const SMALL_BLOB_MS = 4_000;
/** How long peers are waited for when the registry's bytes are wrong. */
const IF_WRONG_MS = 5_000;
/** Pieces at a reader's position that come before all others. */
const WANTED_PIECES = 2;

/** Places within a blob at which pieces of any length up to it begin. Bytes. */
const PLACE_BYTES = 1024 * 1024;

/** What the transfers of one process share. */
export interface TransferContext {
  /** Opened at the first torrent: a pull that needs none never loads BitTorrent. */
  readonly swarm: () => Promise<SwarmClient>;
  /** Shared with the swarm, so that `--download-rate` binds everything together. */
  readonly downloadLimiter: RateLimiter;
  /** Takes over the swarms of blobs that are complete, so that this node gives while the pull goes on. */
  readonly seeds: Seeds;
  readonly estimate: ThroughputEstimate;
  readonly listener: BlobListener;
  /** Absent: services are told nothing (`--no-report`). */
  readonly reports?: Reports | undefined;
}

/** One blob on its way into the store, through the states of `download-states.ts`. */
export class Transfer {
  readonly partial: PartialBlob;
  readonly ledger: TransferLedger;
  readonly #origin: BlobOrigin;
  readonly #context: TransferContext;
  readonly #signal: AbortSignal;
  readonly #onState: (state: DownloadState) => void;
  readonly #reporter: LayerReporter | undefined;
  #metainfo: Metainfo | undefined;
  #metainfoLater: ((signal: AbortSignal) => Promise<Metainfo | undefined>) | undefined;
  /** The reading that makes the hashes is followed, so it ends together with them. */
  #isFollowing = false;
  /** Whether the torrent service was asked at all. */
  #hasAsked = false;
  /** Where the blob is read first while there is no swarm yet, bytes. */
  #begin = 0;
  /** In place of the swarm's peers: the registry, or the service where that is nearer. */
  #source: BlobSource;
  #wanted: Span | undefined;
  /** Of which the swarm was told last. */
  #wantedPiece: number | undefined;
  #failure: unknown;
  /** Goes up when all bytes so far turn out to be wrong. */
  #generation = 0;

  /** @param onState told of every state that is entered */
  constructor(
    partial: PartialBlob,
    origin: BlobOrigin,
    context: TransferContext,
    signal: AbortSignal,
    onState: (state: DownloadState) => void,
  ) {
    this.partial = partial;
    this.ledger = new TransferLedger(partial);
    this.#origin = origin;
    this.#context = context;
    this.#signal = signal;
    this.#onState = onState;
    this.#source = origin.source;
    const { reports } = context;
    this.#reporter = reports && new LayerReporter(partial.descriptor, origin.torrents, this.ledger, reports);
  }

  get generation(): number {
    return this.#generation;
  }

  /** Somebody waits for the byte at `start`, and those after it. */
  want(start: number, end: number): void {
    this.#wanted = { start, end };
    const { swarm } = this.ledger;
    if (this.#metainfo === undefined || swarm === undefined) return;
    const { pieceLength } = this.#metainfo.geometry;
    const piece = Math.floor(start / pieceLength);
    if (piece === this.#wantedPiece) return;
    this.#wantedPiece = piece;
    swarm.want(start, Math.min(end, (piece + WANTED_PIECES) * pieceLength));
  }

  /**
   * Runs until the blob is committed.
   * @throws QuayctlError `verification`, `no-torrent`, `no-peers`, `unreachable`, `unauthorized`, `disk-full`, ...; what
   *   has arrived by then stays for the next run
   */
  async run(): Promise<void> {
    let state: DownloadState = 'begin';
    try {
      while (state !== 'done' && state !== 'failed') {
        this.#onState(state);
        state = await this.#step(state);
      }
      this.#onState(state);
      if (state === 'failed') throw this.#failure;
    } finally {
      await this.#end(state === 'done');
    }
  }

  async #step(state: WorkingState): Promise<DownloadState> {
    try {
      return nextState(state, await this.#work[state]());
    } catch (error) {
      this.#failure = this.#signal.aborted ? this.#signal.reason : error;
      return nextState(state, 'failed');
    }
  }

  readonly #work: { readonly [State in WorkingState]: () => Promise<EventOf<State>> } = {
    begin: async () => {
      const { size, written } = this.partial;
      if (written === size) return 'whole';
      if (this.#origin.rules.skipWebSeed) return 'peers-only';
      return size < SMALL_BLOB_BYTES ? 'small' : 'large';
    },
    find: async () => {
      this.#hasAsked = true;
      const seconds = this.#context.estimate.secondsFor(this.partial.size);
      const plan = await this.#origin.torrents.find(this.partial.descriptor, seconds, this.#signal);
      if (plan.kind === 'none')
        this.#say('debug', `no torrent (${plan.reason}); the registry alone delivers`);
      if (plan.kind !== 'torrent') this.#origin.torrents.tellObstacle();
      return this.#found(plan);
    },
    swarm: () => this.#swarm(),
    registry: () => this.#registry(),
    'registry-until-hashed': () => this.#registryUntilHashed(),
    'registry-first': () => this.#registryFirst(),
    'find-if-slow': () => this.#findInstead('the registry is slow'),
    'find-if-gone': () => this.#findInstead(String(this.#failure), true),
    'find-peers': () => this.#findPeers(),
    peers: () => this.#join(false),
    commit: () => this.#commit(),
    'registry-again': async () => {
      this.#say('warning', `${messageOf(this.#failure)}; fetching it again from the registry alone`);
      await this.#startOver();
      return this.#registry();
    },
    'commit-again': async () => {
      if (await this.#verifies()) return 'verified';
      return this.#hasAsked ? this.#wrong() : 'unasked';
    },
    'find-if-wrong': async () => {
      await this.#startOver();
      return this.#findInstead(messageOf(this.#failure), true);
    },
    'peers-if-wrong': () => this.#peersIfWrong(),
    'commit-last': async () => ((await this.#verifies()) ? 'verified' : this.#wrong()),
  };

  /** What is here is of no use. */
  async #startOver(): Promise<void> {
    await this.ledger.leave();
    this.#metainfo = undefined;
    this.ledger.startOver();
    this.#source = this.#origin.source;
    this.#generation++;
    await this.partial.discard();
  }

  #found(plan: TorrentPlan): TorrentPlan['kind'] {
    if (plan.kind === 'torrent') this.#metainfo = plan.metainfo;
    if (plan.kind === 'later') {
      this.#metainfoLater = plan.metainfo;
      this.#isFollowing = plan.isFollowed ?? false;
      this.#begin = placeWithin(plan.nearlyHashed ?? 0);
    }
    if (plan.kind !== 'none' && plan.atService !== undefined) this.#readAtService(plan.atService);
    return plan.kind;
  }

  /** The service is near and has the blob, or is reading it: the registry gives only what the service does not. */
  #readAtService(service: BlobSource): void {
    const { source } = this.#origin;
    this.#source = nearestSource(service, source, (error) => {
      this.#source = source;
      this.#say('debug', `${messageOf(error)}; the registry delivers`);
    });
  }

  async #registry(signal = this.#signal, from = 0): Promise<'whole'> {
    const { downloadLimiter } = this.#context;
    const count = (length: number): void => this.ledger.addDirect(length);
    await fillGaps(this.partial, this.#source, downloadLimiter, count, signal, from);
    return 'whole';
  }

  async #registryFirst(): Promise<'whole' | 'slow' | 'unavailable'> {
    const slow = new AbortController();
    const timer = setTimeout(() => slow.abort(), SMALL_BLOB_MS);
    try {
      return await this.#registry(AbortSignal.any([this.#signal, slow.signal]));
    } catch (error) {
      if (this.#signal.aborted) throw error;
      if (slow.signal.aborted) return 'slow';
      if (!isQuayctlError(error, 'unreachable', 'rate-limited', 'protocol')) throw error;
      this.#failure = error;
      return 'unavailable';
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param isAllThereIs whether nothing is left but peers: then the service is waited for, however long it takes */
  async #findInstead(why: string, isAllThereIs = false): Promise<'torrent' | 'none'> {
    this.#hasAsked = true;
    const { torrents } = this.#origin;
    const { descriptor } = this.partial;
    const plan = isAllThereIs
      ? await torrents.findOrWait(descriptor, this.#signal)
      : await torrents.find(descriptor, 0, this.#signal);
    if (plan.kind !== 'torrent') return 'none';
    this.#say('debug', `${why}; trying peers`);
    this.#found(plan);
    return 'torrent';
  }

  async #findPeers(): Promise<'torrent' | 'none'> {
    const plan = await this.#origin.torrents.findOrWait(this.partial.descriptor, this.#signal);
    this.#found(plan);
    if (plan.kind === 'torrent') return 'torrent';
    const what = `no torrent of ${shortDigest(this.partial.descriptor.digest)}: ${plan.reason}`;
    const hint = 'without --skip-web-seed it would come from the registry';
    this.#failure = plan.refused ?? new QuayctlError('no-torrent', what, { hint });
    return 'none';
  }

  /** The registry now; the swarm as soon as its hashes come, with what is here by then. */
  async #registryUntilHashed(): Promise<'whole' | 'hashed'> {
    const outcome = await readUntilHashed({
      read: (signal) => this.#registry(signal, this.#begin),
      hashes: async (signal) => {
        const metainfo = await this.#metainfoLater?.(signal);
        if (metainfo !== undefined) this.#reporter?.found(metainfo);
        return metainfo;
      },
      endsWithHashes: this.#isFollowing,
      progress: () => this.ledger.progress(),
      signal: this.#signal,
    });
    if (outcome === 'whole') return outcome;
    this.#metainfo = outcome;
    return 'hashed';
  }

  async #swarm(): Promise<'whole' | 'unusable'> {
    try {
      return await this.#join(true);
    } catch (error) {
      // Errors of the registry, of this disk and of the port range would only repeat themselves.
      const isTheirs = !isQuayctlError(error) || isQuayctlError(error, 'protocol', 'internal', 'no-peers');
      if (this.#signal.aborted || !isTheirs) throw error;
      this.#say('warning', `the swarm failed (${messageOf(error)}); the registry alone delivers`);
      await this.ledger.leave();
      return 'unusable';
    }
  }

  async #join(withRegistry: boolean, waitForPeersMs = this.#origin.rules.waitForPeersMs): Promise<'whole'> {
    const metainfo = this.#metainfo;
    if (metainfo === undefined) throw new TypeError('a swarm is joined with a torrent');
    const { torrents, rules } = this.#origin;
    const source = (): BlobSource => this.#source;
    const { partial } = this;
    const blob = partial.descriptor;
    const client = await this.#context.swarm();
    const swarm = await client.join({
      metainfo,
      storage: partial,
      signal: this.#signal,
      onVerified: (start, end) => partial.markVerified(start, end),
      waitForPeersMs,
      group: torrents,
      renewTrackers: (abort) => torrents.renewTrackers(blob, metainfo, abort),
      ...torrents.admission(this.#signal),
      ...(rules.trackers.length > 0 ? { trackers: rules.trackers } : {}),
      ...(withRegistry
        ? { registry: (start, end, abort) => source().open(blob, start, end, abort, BESIDE_PEERS) }
        : {}),
    });
    this.ledger.joined(swarm);
    this.#reporter?.joined(client, metainfo);
    if (this.#wanted !== undefined) this.want(this.#wanted.start, this.#wanted.end);
    await swarm.done;
    return 'whole';
  }

  /**
   * Wrong bytes may come from a torrent of other content, from what an earlier run left, or from a transfer that was
   * damaged on the way: the registry is asked for all of it once more, and is then believed or not.
   */
  async #commit(): Promise<'verified' | 'doubtful' | 'wrong'> {
    if (await this.#verifies()) return 'verified';
    return this.#origin.rules.skipWebSeed ? this.#wrong() : 'doubtful';
  }

  async #verifies(): Promise<boolean> {
    try {
      await this.partial.commit();
      return true;
    } catch (error) {
      if (!isQuayctlError(error, 'verification')) throw error;
      this.#failure = error;
      return false;
    }
  }

  /** Peers without the registry. Where they do not have it, the user is told what the registry did. */
  async #peersIfWrong(): Promise<'whole' | 'nobody'> {
    const wrong = this.#failure;
    try {
      return await this.#join(false, IF_WRONG_MS);
    } catch (error) {
      if (this.#signal.aborted || !isQuayctlError(error, 'no-peers', 'protocol')) throw error;
      this.#failure = wrong;
      return 'nobody';
    }
  }

  /** Wrong bytes must not be taken up again by the next run. */
  async #wrong(): Promise<'wrong'> {
    await this.partial.discard();
    return 'wrong';
  }

  /** The swarm of a complete blob goes on giving and takes the open file with it; else all is closed. */
  async #end(isDone: boolean): Promise<void> {
    const { swarm } = this.ledger;
    const { partial } = this;
    this.#reporter?.end(isDone, isDone && this.#metainfoLater !== undefined);
    if (isDone && swarm !== undefined) {
      const { digest } = partial.descriptor;
      return this.#context.seeds.add({ digest, swarm, close: () => partial.close() });
    }
    await swarm?.leave();
    await partial.close();
  }

  #say(kind: 'warning' | 'debug', message: string): void {
    const { digest } = this.partial.descriptor;
    this.#context.listener({ kind, message: `${shortDigest(digest)}: ${message}` });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Where there will be a swarm in a moment, each node reads another part of what can be read at once, so that nodes have
 * something to give each other. Of whole MiB, since pieces begin there.
 */
function placeWithin(bytes: number): number {
  return Math.floor((Math.random() * bytes) / PLACE_BYTES) * PLACE_BYTES;
}
