import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ImageReference } from '../image/reference.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import type { SeedTotals } from '../blobs/seeds.ts';
import type { BlobOutcome } from '../blobs/transfer-ledger.ts';

/**
 * Everything that a pull or seed tells while it runs, to one listener. What is shown of it, and how, is the
 * command line's business; nothing in this room prints.
 */
export type PullEvent =
  /** The security report is waited for (`--max-severity`). */
  | { readonly kind: 'security'; readonly message: string }
  | { readonly kind: 'resolving'; readonly reference: ImageReference }
  | { readonly kind: 'resolved'; readonly image: ResolvedImage; readonly offline: boolean }
  /** Where an ACI lies is looked up. */
  | { readonly kind: 'discovering'; readonly name: string }
  /** The torrent of a derived image is asked for. */
  | { readonly kind: 'asking-torrent' }
  | { readonly kind: 'planned'; readonly blobs: readonly Descriptor[]; readonly inEngine: number }
  /** The service makes what was asked for; bytes read by it so far. */
  | {
      readonly kind: 'making';
      readonly size: number;
      readonly done: number;
      readonly etaSeconds: number;
    }
  /** A squashed image begins to be downloaded. */
  | { readonly kind: 'squashed-starting' }
  /** A squashed image goes into the engine. */
  | { readonly kind: 'squashed-importing' }
  | BlobEvent
  | { readonly kind: 'pull-progress'; readonly progress: PullProgress }
  | { readonly kind: 'completed'; readonly digest: Digest; readonly outcome: BlobOutcome }
  | { readonly kind: 'connecting'; readonly engine: string }
  /** The engine is being given the image. */
  | { readonly kind: 'loading'; readonly engine: string }
  | { readonly kind: 'layer-loaded'; readonly digest: Digest }
  /** A line of the engine's own, as it is. */
  | { readonly kind: 'engine-says'; readonly line: string }
  | { readonly kind: 'exporting'; readonly path: string }
  | { readonly kind: 'seeding'; readonly blobs: number; readonly durationMs: number | undefined }
  | ({ readonly kind: 'seed-progress' } & SeedTotals)
  /** The seeding is over. */
  | ({ readonly kind: 'seeded' } & SeedTotals);

/** How far all blobs of one pull are together. Bytes, bytes per second, seconds. */
export interface PullProgress {
  readonly size: number;
  /** On this disk so far, whatever the source. */
  readonly received: number;
  readonly downloadRate: number;
  /** How many blobs there are, and how many of them are here whole. */
  readonly layers?: number;
  readonly arrived?: number;
  /** How many layers the engine has taken. */
  readonly loaded?: number;
  /** At this rate; absent while nothing arrives. */
  readonly etaSeconds?: number;
}

export type Listener = (event: PullEvent) => void;
