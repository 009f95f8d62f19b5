import type { BlobOrigin } from '../blobs/blob-origin.ts';
import { NOTHING, type BlobOutcome } from '../blobs/transfer-ledger.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { FileFeed } from '../engines/engine.ts';
import type { GatedImage } from './gate.ts';

/**
 * What the pull of one kind of image (OCI, squashed, ACI) does differently. `run-pull.ts` takes the steps: resolve, plan,
 * fetch, deliver, record, receipt, seed.
 */
export interface ImageKind<Resolved> {
  /** From the name that the user gave to digests. */
  resolve(signal: AbortSignal): Promise<Resolved>;
  /** Every blob of it: what must not be collected from now on, and what is seeded afterwards. */
  blobs(resolved: Resolved): readonly Descriptor[];
  /** What a gate is asked about. @throws QuayctlError `no-report` where that is not known */
  gated(resolved: Resolved): GatedImage;
  /** Asks the engine what it has. */
  plan(resolved: Resolved, signal: AbortSignal): Promise<PullPlan>;
}

/** What a pull still has to move, from where, and into what. */
export interface PullPlan {
  /** The image's name in full, for the receipt. */
  readonly name: string;
  /** Of the platform's manifest; of the file, where there is none. */
  readonly digest: Digest;
  readonly index?: Digest | undefined;
  /** The service that gives the digest of the bytes, where it is not the registry's manifest. */
  readonly vouchedBy?: 'service';
  /** The rows of the receipt. */
  readonly layers: readonly Descriptor[];
  readonly origin: BlobOrigin;
  /** Each blob once, in the order in which they are wanted: the base layer first, as engines apply them. */
  readonly fetch: readonly Descriptor[];
  /** Downloads of `fetch` that planning has begun, because it had to read in them. */
  readonly begun?: ReadonlyMap<Digest, Promise<BlobOutcome>>;
  /** Layers that are not fetched, because the engine has them. */
  readonly settled: ReadonlyMap<Digest, BlobOutcome>;
  /** Resolves when the image is where it was to go. Runs beside the downloads. */
  deliver(fetching: Fetching, signal: AbortSignal): Promise<void>;
  /** Names the image in the store. */
  record(signal: AbortSignal): Promise<void>;
}

/** The blobs of one pull on their way into the store; each can be waited for alone. */
export interface Fetching {
  readonly feed: FileFeed;
  readonly outcomes: ReadonlyMap<Digest, BlobOutcome>;
  /** Resolves when every blob is committed. Rejects with the first failure, after the others have come to an end. */
  readonly done: Promise<void>;
  readonly failed: () => boolean;
}

/** Of layers that the engine has. */
export function inEngine(layers: readonly Descriptor[]): ReadonlyMap<Digest, BlobOutcome> {
  return new Map(layers.map(({ digest, size }) => [digest, { ...NOTHING, alreadyInEngine: size }]));
}
