import { randomBytes } from 'node:crypto';
import { QuayctlError } from '../base/errors.ts';
import { formatDuration } from '../base/units.ts';
import { askUntilMade } from '../blobs/ask-until-made.ts';
import { dumpBody, headerOf } from '../http/http.ts';
import { shortDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { decodeTorrent, type Metainfo } from '../metainfo/metainfo.ts';
import type { TrackerAnswer } from '../swarm/tracker/announce.ts';
import { announceTo, isSupportedTracker } from '../swarm/tracker/tracker.ts';
import { reportFailure, reportSilence, type Report } from './finding.ts';
import { reportCertificate, reportClock } from './host.ts';
import type { ExaminedImage, ExaminedMachine } from './examined.ts';

/** Hashing that takes longer than this is told, and not waited for. */
const MOST_HASHING_MS = 10_000;
/** For which the service is to hold its answer, seconds. */
const SHORT_WAIT_SECONDS = 1;
/** A tracker that has not answered by then counts as one that does not. */
const TRACKER_MS = 10_000;
/** Every answer of a torrent service below /c1 has it. */
const SERVICE_HEADER = 'quay-torrent';

/**
 * Whether a torrent service answers there.
 * @param base the named one, else the registry itself
 */
export async function examineService(
  { http, service }: Pick<ExaminedMachine, 'http' | 'service'>,
  base: URL,
  report: Report,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const begun = performance.now();
    const answer = await http.request(new URL(`${base.pathname.replace(/\/+$/, '')}/c1/`, base), { signal });
    const ms = Math.max(1, Math.round(performance.now() - begun));
    await dumpBody(answer);
    if (headerOf(answer, SERVICE_HEADER) === undefined) {
      if (service === undefined) {
        const hint = '--torrent-service URL names a torrent service for it';
        report(
          'service',
          'warning',
          `${base.host} serves no torrents: every byte comes from the registry`,
          hint,
        );
      } else {
        const hint = '--torrent-service must name a torrent service, such as `quayctl serve`';
        report(
          'service',
          'failed',
          `${base.origin} is no torrent service: it answers ${answer.statusCode}`,
          hint,
        );
      }
      return false;
    }
    report('service', 'ok', `${base.origin} answers in ${ms} ms`);
    if (service !== undefined) {
      reportCertificate(report, http, base);
      reportClock(report, answer, 'torrent service');
    }
    return true;
  } catch (error) {
    reportSilence(report, 'service', base, error, service === undefined ? 'warning' : 'failed');
    return false;
  }
}

/** Whether there is a torrent of the blob, waiting for one that is being made. */
export async function examineTorrent(
  { torrents }: ExaminedImage,
  blob: Descriptor,
  report: Report,
  signal: AbortSignal,
): Promise<Metainfo | undefined> {
  const what = `of ${shortDigest(blob.digest)}`;
  const until = performance.now() + MOST_HASHING_MS;
  try {
    const ask = (): ReturnType<typeof torrents.torrent> => torrents.torrent(blob, SHORT_WAIT_SECONDS, signal);
    const answer = await askUntilMade(ask, signal, ({ etaSeconds }) => {
      const leftMs = until - performance.now();
      return etaSeconds * 1000 > leftMs ? 0 : leftMs;
    });
    switch (answer.kind) {
      case 'torrent': {
        const metainfo = decodeTorrent(answer.bytes);
        if (metainfo.geometry.length !== blob.size)
          throw new QuayctlError('protocol', `the torrent ${what} is of other bytes`);
        const pieces = metainfo.geometry.pieceCount;
        report('torrent', 'ok', `${what}: ${pieces === 1 ? '1 piece' : `${pieces} pieces`}`);
        return metainfo;
      }
      case 'hashing': {
        const percent = answer.size === 0 ? 0 : Math.floor((answer.hashed / answer.size) * 100);
        const left = formatDuration(Math.ceil(answer.etaSeconds) * 1000);
        const message = `${what}: the service is still hashing it, ${percent} %, ${left} to go`;
        const hint =
          'pulls begin at the registry meanwhile; `quayctl serve prepare IMAGE` hashes ahead of time';
        report('torrent', 'warning', message, hint);
        return undefined;
      }
      case 'none':
        report('torrent', 'failed', `${what}: ${answer.reason}`);
        return undefined;
    }
  } catch (error) {
    reportFailure(report, 'torrent', error);
    return undefined;
  }
}

/** Whether the torrent's trackers take an announce of this node. */
export async function examineTrackers(
  { http }: ExaminedImage,
  { trackers, infoHash, geometry }: Metainfo,
  port: number,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const supported = trackers.filter(isSupportedTracker);
  if (supported.length === 0) return report('tracker', 'failed', 'the torrent names no tracker');
  const self = { infoHash, peerId: `2d5143303130302d${randomBytes(12).toString('hex')}`, port };
  const counts = { uploaded: 0, downloaded: 0, left: geometry.length };
  for (const tracker of supported) {
    const late = AbortSignal.any([signal, AbortSignal.timeout(TRACKER_MS)]);
    try {
      const answer = await announceTo(
        tracker,
        { ...self, ...counts, event: 'started', numwant: 50 },
        http,
        late,
      );
      report('tracker', 'ok', `${tracker.name} takes announces; ${company(answer)}`);
      if (answer.warning !== undefined)
        report('tracker', 'warning', `${tracker.name} says: ${answer.warning}`);
      await announceTo(tracker, { ...self, ...counts, event: 'stopped', numwant: 0 }, http, late);
    } catch (error) {
      signal.throwIfAborted();
      const failure = late.aborted
        ? new QuayctlError('unreachable', 'it does not answer', { cause: error })
        : error;
      reportFailure(
        (check, status, message, hint) => report(check, status, `${tracker.name}: ${message}`, hint),
        'tracker',
        failure,
      );
    }
  }
}

function company({ peers, size }: TrackerAnswer): string {
  if (size === undefined) return `it names ${peers.length === 1 ? '1 node' : `${peers.length} nodes`}`;
  const seeds = size.seeds === 1 ? '1 node has' : `${size.seeds} nodes have`;
  return `${seeds} the whole blob`;
}
