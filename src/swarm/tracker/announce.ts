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
