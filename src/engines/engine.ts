import type { Readable } from 'node:stream';
import type { Digest } from '../image/digest.ts';
import type { RunnableImage } from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';

/** Committed blobs as an engine sees them while later ones are still being downloaded. */
export interface BlobFeed {
  /** Resolves once the blob is committed; rejects when it never will be. */
  ready(digest: Digest): Promise<void>;
  /** The committed blob from its beginning. */
  stream(digest: Digest): Promise<Readable>;
}

/** For engines that read files. */
export interface FileFeed extends BlobFeed {
  /** Where the committed blob lies; never to be written to. */
  file(digest: Digest): string;
}

/** What an engine already has of an image, so that it is neither downloaded nor sent. */
export interface EnginePresence {
  /** The whole image is there; only its name may be missing. */
  readonly image: boolean;
  /** One entry for each of the manifest's layers, in order. */
  readonly layers: readonly boolean[];
}

export interface LoadOptions {
  /** Full names (`quay.io/ns/app:1`) that the image gets. */
  readonly names: readonly string[];
  /** Ask the engine to record the repository digest; failures are ignored. */
  readonly recordDigest: boolean;
  readonly presence: EnginePresence;
  readonly signal: AbortSignal;
  /** Bytes of the manifest's layers taken by the engine so far, for progress. */
  readonly onProgress?: (event: { readonly layer: Digest; readonly done: boolean }) => void;
  /** What the engine itself says while it loads, line by line, as it comes. */
  readonly onMessage?: (line: string) => void;
}

export interface LoadedImage {
  /** As the engine shows it. */
  readonly id: string;
  readonly names: readonly string[];
  readonly digestRecorded: boolean;
}

/**
 * A container engine on this machine, for images of the kind that it takes. Every implementation passes the suite in
 * test/engines/. All methods throw QuayctlError `engine` (missing, refused, died, disk full) or `interrupted`.
 */
export interface Engine<Image = RunnableImage, Feed extends BlobFeed = BlobFeed> {
  readonly name: string;
  /** What it runs by default; also the first contact, so a missing engine is told before anything is downloaded. */
  platform(signal: AbortSignal): Promise<Platform>;
  presence(image: Image, signal: AbortSignal): Promise<EnginePresence>;
  /** Loads while later blobs still arrive. Leaves no half image and no temporary name, also when it fails. */
  load(image: Image, feed: Feed, options: LoadOptions): Promise<LoadedImage>;
}
