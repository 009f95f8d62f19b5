import type { Http } from '../../http/http.ts';
import { announceHttp } from './http-tracker.ts';
import { announceUdp } from './udp-tracker.ts';

export type TrackerEvent = 'started' | 'completed' | 'stopped';

/** One announce (BEP 3): counts in bytes, hashes and ids as hex. */
export interface Announce {
  readonly infoHash: string;
  readonly peerId: string;
  readonly port: number;
  readonly uploaded: number;
  readonly downloaded: number;
  readonly left: number;
  readonly event?: TrackerEvent;
  readonly ip?: string;
  /** Peers that are wanted. */
  readonly numwant: number;
}

export interface TrackerAnswer {
  /** `host:port`; many trackers name the asker too. */
  readonly peers: readonly string[];
  readonly intervalMs: number | undefined;
  readonly minIntervalMs: number | undefined;
  readonly warning?: string;
  /** As the tracker counts them, the asker included: peers that have everything, and peers that miss some. */
  readonly size?: { readonly seeds: number; readonly missing: number };
}

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
