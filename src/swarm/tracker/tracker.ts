import type { Http } from '../../http/http.ts';
import type { Announce, TrackerAnswer } from './announce.ts';
import { announceHttp } from './http-tracker.ts';
import { announceUdp } from './udp-tracker.ts';

/** Asks one tracker once. @throws QuayctlError, or the signal's reason */
export function announceTo(
  tracker: string,
  announce: Announce,
  http: Http,
  signal: AbortSignal,
): Promise<TrackerAnswer> {
  return tracker.startsWith('udp:')
    ? announceUdp(tracker, announce, signal)
    : announceHttp(tracker, announce, http, signal);
}

/** http, https and udp; others (WebRTC's ws) are passed over. */
export function isSupportedTracker(tracker: string): boolean {
  return /^(https?|udp):\/\//i.test(tracker);
}

/** For people: where it is, without the parts that may be secret. */
export function trackerName(tracker: string): string {
  const url = URL.parse(tracker);
  return url === null ? 'a tracker' : `${url.protocol}//${url.host}${url.pathname}`;
}
