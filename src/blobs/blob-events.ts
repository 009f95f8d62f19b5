import type { Digest } from '../image/digest.ts';

/** How far the download of one blob is. Integer bytes; rates in bytes per second. */
export interface BlobProgress {
  readonly digest: Digest;
  readonly size: number;
  /** On this disk so far, whatever the source. */
  readonly received: number;
  readonly fromPeers: number;
  readonly fromRegistry: number;
  /** Connected BitTorrent peers. */
  readonly peers: number;
  /** From peers and the registry together. */
  readonly downloadRate: number;
  readonly uploadRate: number;
}

/** Where blobs come from, for people and for counting. */
export interface OriginName {
  /** As in references. */
  readonly registry: string;
  readonly repository: string;
}

/** What downloads tell while they run. Messages are for people and hold no secret. */
export type BlobEvent =
  | { readonly kind: 'progress'; readonly progress: BlobProgress }
  /** A download has ended, well or not; bytes that it received by then. */
  | {
      readonly kind: 'fetched';
      readonly digest: Digest;
      readonly name: OriginName | undefined;
      readonly fromPeers: number;
      readonly fromRegistry: number;
    }
  | {
      readonly kind: 'warning';
      readonly message: string;
      /** What it is about: further warnings about the same say nothing new, in whatever words. */
      readonly about?: string;
    }
  | { readonly kind: 'debug'; readonly message: string };

export type BlobListener = (event: BlobEvent) => void;
