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

/** What downloads tell while they run. Messages are for people and hold no secret. */
export type BlobEvent =
  | { readonly kind: 'progress'; readonly progress: BlobProgress }
  | {
      readonly kind: 'warning';
      readonly message: string;
      /** What it is about: further warnings about the same say nothing new, in whatever words. */
      readonly about?: string;
    }
  | { readonly kind: 'debug'; readonly message: string };

export type BlobListener = (event: BlobEvent) => void;
