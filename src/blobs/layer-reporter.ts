import { isQuayctlError } from '../base/errors.ts';
import { delay } from '../base/retry.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Metainfo } from '../metainfo/metainfo.ts';
import type { AnnounceToken } from '../metainfo/tracker-address.ts';
import type { LayerReport, ReportAnswer } from '../registry/service-reports.ts';
import type { Swarm, SwarmClient } from '../swarm/swarm-client.ts';
import type { Reports } from './reports.ts';
import type { TorrentFinder } from './torrent-finder.ts';
import type { TransferLedger } from './transfer-ledger.ts';

/** A layer that is here sooner sends its last word alone. */
const FIRST_MS = 1500;
/** After a service did not answer. */
const RETRY_SECONDS = 15;
/** Pieces on their way that are named; a service reads no more. */
const MAX_OPEN = 512;

/** Tells the torrent service of one layer: while it arrives, as often as the service asks, and at its end. */
export class LayerReporter {
  readonly #blob: Descriptor;
  readonly #torrents: TorrentFinder;
  readonly #ledger: TransferLedger;
  readonly #reports: Reports;
  readonly #started = performance.now();
  readonly #over = new AbortController();
  #metainfo: Metainfo | undefined;
  #token: AnnounceToken | undefined;
  #client: Pick<SwarmClient, 'peerId' | 'port'> | undefined;
  #told: LayerReport['told'] = [0, 0];
  #isWanted = true;
  #isRunning = false;

  constructor(blob: Descriptor, torrents: TorrentFinder, ledger: TransferLedger, reports: Reports) {
    this.#blob = blob;
    this.#torrents = torrents;
    this.#ledger = ledger;
    this.#reports = reports;
  }

  /** The service has given a torrent, and with it leave to report. */
  found(metainfo: Metainfo): void {
    this.#metainfo = metainfo;
    this.#token = metainfo.trackers.find(({ token }) => token !== undefined)?.token;
  }

  /** Reports from now on, until `end`. */
  joined(client: SwarmClient, metainfo: Metainfo): void {
    this.found(metainfo);
    this.#client = client;
    if (this.#isRunning || this.#token === undefined) return;
    this.#isRunning = true;
    const signal = AbortSignal.any([this.#over.signal, this.#reports.closing]);
    void this.#run(signal).catch(() => undefined);
  }

  /**
   * The last word.
   * @param torrentLater asks once more for a torrent that was being made when the download began
   */
  end(isDone: boolean, torrentLater: boolean): void {
    this.#over.abort();
    const { fromPeers, fromRegistry } = isDone ? this.#ledger.outcome() : this.#ledger.progress();
    const have = isDone ? this.#blob.size : this.#ledger.progress().received;
    const last = this.#report({ have, fromPeers, fromRegistry, state: isDone ? 'done' : 'failed' });
    if (!this.#isWanted || (this.#token === undefined && !torrentLater)) return;
    this.#reports.sendLast(async (signal) => {
      if (this.#token === undefined) {
        const plan = await this.#torrents.find(this.#blob, 0, signal);
        if (plan.kind === 'torrent') this.found(plan.metainfo);
      }
      await this.#send({ ...last, told: this.#told }, signal);
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    let next: ReportAnswer = { again: FIRST_MS / 1000, pieces: false };
    while (typeof next === 'object') {
      await delay(next.again * 1000, signal);
      next = await this.#progress(next.pieces, signal);
    }
    this.#isWanted = false;
  }

  async #progress(withPieces: boolean, signal: AbortSignal): Promise<ReportAnswer> {
    const { received: have, fromPeers, fromRegistry } = this.#ledger.progress();
    const report = this.#report({ have, fromPeers, fromRegistry, state: 'pulling' });
    const { swarm } = this.#ledger;
    const pieces = withPieces && swarm !== undefined ? { pieces: piecesOf(swarm) } : {};
    try {
      return await this.#send({ ...report, ...pieces }, signal);
    } catch (error) {
      if (signal.aborted || !isQuayctlError(error)) throw error;
      return { again: RETRY_SECONDS, pieces: false };
    }
  }

  /** With another token where this one is refused: it may have expired. */
  async #send(report: LayerReport, signal: AbortSignal): Promise<ReportAnswer> {
    const token = this.#token;
    if (token === undefined) return 'unwanted';
    let answer = await this.#torrents.report(token, report, signal);
    if (answer === 'refused' && this.#metainfo !== undefined) {
      const renewed = await this.#torrents.renewTrackers(this.#blob, this.#metainfo, signal);
      this.#token = renewed.find((tracker) => tracker.token !== undefined)?.token;
      if (this.#token === undefined || this.#token.equals(token)) return 'refused';
      answer = await this.#torrents.report(this.#token, report, signal);
    }
    if (typeof answer === 'object') this.#told = [report.fromPeers, report.fromRegistry];
    return answer;
  }

  #report(now: Pick<LayerReport, 'have' | 'fromPeers' | 'fromRegistry' | 'state'>): LayerReport {
    return {
      version: this.#reports.version,
      peer: this.#client?.peerId ?? this.#reports.run,
      port: this.#client?.port ?? 0,
      size: this.#blob.size,
      ...now,
      told: this.#told,
      given: this.#ledger.swarm?.stats().uploaded ?? 0,
      seconds: Math.round((performance.now() - this.#started) / 100) / 10,
    };
  }
}

function piecesOf(swarm: Swarm): NonNullable<LayerReport['pieces']> {
  const { have, fetching, claimed } = swarm.pieces();
  return {
    have: Buffer.from(have).toString('base64'),
    fetching: fetching.slice(0, MAX_OPEN),
    claimed: claimed.slice(0, MAX_OPEN),
  };
}
