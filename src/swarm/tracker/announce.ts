import { QuayctlError } from '../../base/errors.ts';

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
  /** How many peers are wanted. */
  readonly numwant: number;
}

export interface TrackerAnswer {
  /** `host:port`; many trackers name the asker too. */
  readonly peers: readonly string[];
  readonly intervalMs: number | undefined;
  readonly minIntervalMs: number | undefined;
  readonly warning?: string;
  /** As the tracker counts them, the asker included. Leechers are peers that still miss pieces. */
  readonly size?: { readonly seeds: number; readonly leechers: number };
}

/** The tracker answered with a failure reason. */
export class TrackerFailure extends QuayctlError {
  /** The announce token is missing, or not accepted: another one may be. */
  readonly refusesToken: boolean;

  constructor(reason: string, options: { readonly refusesToken: boolean; readonly cause?: unknown }) {
    super('protocol', reason, { cause: options.cause });
    this.refusesToken = options.refusesToken;
  }
}

/**
 * How Chihaya's JWT hook (middleware/jwt/jwt.go) and quayctl's own tracker refuse a token. A tracker's answer has no
 * error codes (BEP 3), so these texts are part of the protocol (docs/protocol.md, "The tracker"). They are recognised here alone.
 */
const TOKEN_REFUSALS = ['unapproved request: missing jwt', 'unapproved request: invalid jwt'];

/** @param reason `failure reason` of a tracker's answer */
export function trackerFailure(reason: string): TrackerFailure {
  return new TrackerFailure(reason, {
    refusesToken: TOKEN_REFUSALS.some((refusal) => reason.startsWith(refusal)),
  });
}
