import type { Readable } from 'node:stream';
import type { Digest } from '../image/digest.ts';
import type { AciImage } from '../image/aci.ts';
import type { ManifestDocument, RunnableImage } from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import type { TaggedReference } from '../image/reference.ts';

/** The caller's environment variables: only `cli` reads process.env. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Committed blobs as an engine sees them while later ones are still being downloaded. */
export interface BlobFeed {
  /** Resolves once the blob is committed; rejects when it never will be. */
  ready(digest: Digest): Promise<void>;
  /** The committed blob from its beginning. */
  stream(digest: Digest): Promise<Readable>;
  /**
   * The blob from its beginning while it arrives: bytes come as soon as they are here, verified or not, and the last
   * one once the digest was checked. For engines that make nothing of a layer that breaks off, and compare what they
   * were sent with a digest. The stream fails where the download does, and with ReplacedBytes where what it gave was
   * wrong and is being fetched again. Where it is absent, or gives undefined, an engine waits until the blob is ready.
   */
  readonly follow?: (digest: Digest, signal: AbortSignal) => Promise<Readable | undefined>;
  /**
   * Manifests and blobs of the image's attestations, for engines that keep them as `docker pull` does. Empty where
   * there are none or they cannot be had; nothing is fetched before this is called.
   */
  readonly attestations?: (signal: AbortSignal) => Promise<readonly ManifestDocument[]>;
}

/** The same, of which no layer is given out before it is committed. */
export function committedOnly(feed: BlobFeed): BlobFeed {
  const { attestations } = feed;
  return {
    ready: (digest) => feed.ready(digest),
    stream: (digest) => feed.stream(digest),
    ...(attestations === undefined ? {} : { attestations }),
  };
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
  /** The names that the image gets. Empty for a pull by digest alone, and for ACIs, which bring their own name. */
  readonly names: readonly TaggedReference[];
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
  /** Which version it is, and how it keeps images, for people; absent where that is not asked for. */
  describe?(signal: AbortSignal): Promise<string>;
  presence(image: Image, signal: AbortSignal): Promise<EnginePresence>;
  /** Loads while later blobs still arrive. Leaves no half image and no temporary name, also when it fails. */
  load(image: Image, feed: Feed, options: LoadOptions): Promise<LoadedImage>;
}

/** An engine that runs appc images (ACIs), with their signatures beside them. */
export interface AciEngine extends Engine<AciImage, FileFeed> {
  /** False where the user told the engine to accept images without a signature; then none is fetched. */
  readonly checksSignatures: boolean;
}
