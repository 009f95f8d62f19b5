import type { Http } from '../../http/http.ts';
import type { TrackerAddress } from '../../metainfo/tracker-address.ts';
import type { Announce, TrackerAnswer } from './announce.ts';
import { announceHttp } from './http-tracker.ts';
import { announceUdp } from './udp-tracker.ts';

/** Asks one tracker once. @throws QuayctlError (TrackerFailure where it gave a reason), or the signal's reason */
export function announceTo(
  tracker: TrackerAddress,
  announce: Announce,
  http: Http,
  signal: AbortSignal,
): Promise<TrackerAnswer> {
  return tracker.announceUrl.startsWith('udp:')
    ? announceUdp(tracker, announce, http, signal)
    : announceHttp(tracker, announce, http, signal);
}

/** http, https and udp; others (WebRTC's ws) are passed over. */
export function isSupportedTracker({ key }: TrackerAddress): boolean {
  return /^(https?|udp):\/\//i.test(key);
}
