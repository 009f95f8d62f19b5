import type { BlobOrigin } from '../blobs/blob-origin.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import type { BlobOutcome } from '../blobs/transfer-ledger.ts';
import type { Downloads } from '../blobs/downloads.ts';
import type { RequestContext } from '../http-server/request-context.ts';
import type { RequestEvent } from '../http-server/router.ts';
import type { Shares } from '../http-server/shares.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { Store } from '../store/store.ts';
import type { MirroredRegistry } from './mirrored-registry.ts';
import type { AccessForm } from './target.ts';

/** For one-line logs; without secrets. */
export type MirrorEvent =
  | RequestEvent
  | Exclude<BlobEvent, { readonly kind: 'progress' }>
  /** A blob is in the store now, and where its bytes came from. */
  | {
      readonly kind: 'stored';
      readonly registry: string;
      readonly repository: string;
      readonly digest: Digest;
      readonly outcome: BlobOutcome;
    }
  /** A body was ended before its end: the engine takes the rest from the registry. */
  | {
      readonly kind: 'cut';
      readonly registry: string;
      readonly repository: string;
      readonly digest: Digest;
      readonly reason: string;
    };

export type MirrorListener = (event: MirrorEvent) => void;

/** What the routes share. */
export interface MirrorContext {
  readonly store: Store;
  readonly downloads: Downloads;
  readonly listener: MirrorListener;
  /** Told of what has come into the store. */
  readonly keeper: { stored(blob: Descriptor, origin: BlobOrigin): void };
  /** The longest silence towards an engine while any source has a byte, milliseconds. */
  readonly stallMs: number;
  /** Bodies of blobs that are under way. */
  readonly readers: Shares;
  /** Blobs whose body was cut -> until when they are refused, on the clock of performance.now. */
  readonly refusedUntil: Map<Digest, number>;
  /** When the image of a manifest was recorded in the store last, on the same clock. */
  readonly recordedAt: Map<Digest, number>;
}

/** One request to a mirrored registry. */
export interface MirrorRequest {
  readonly exchange: RequestContext;
  readonly registry: MirroredRegistry;
  readonly form: AccessForm;
  /** The caller's Authorization header; secret. */
  readonly authorization: string | undefined;
}

/** An answer begins within 5 s, or is an error that makes the engine ask the registry itself. */
export const ANSWER_MS = 4_500;
