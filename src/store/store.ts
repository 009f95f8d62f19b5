import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import type { ImageReference } from '../image/reference.ts';
import type { BlobStore } from './blob-store.ts';
import type { StoredImage } from './store-index.ts';
import type { GcResult, Usage } from './gc.ts';
import type { RememberedFacts } from './remembered-facts.ts';

/** Held, blobs are not collected, by whatever process. */
export interface Lease extends AsyncDisposable {
  /** Idempotent. */
  close(): Promise<void>;
}

/** The local store: an OCI image layout, images by name, and what quayctl remembers. Several processes may use it. */
export interface Store extends BlobStore, Pick<RememberedFacts, RecordMethods>, AsyncDisposable {
  /** The directory; an OCI image layout. */
  readonly path: string;
  /** The path of a committed blob, to be linked or copied, never written to. */
  blobFile(digest: Digest): string;
  /** Hosts that serve no torrents, for an hour. */
  readonly hostsWithoutTorrents: {
    isSilent(host: string): Promise<boolean>;
    remember(host: string): Promise<void>;
  };

  /** Protects blobs that are here or will be from every `gc` and `removeImage`. Take it before looking for them. */
  lease(digests: readonly Digest[]): Promise<Lease>;
  /** Hashes a committed blob again. One that is not what it should be is removed. @throws QuayctlError `not-found` */
  verify(digest: Digest): Promise<boolean>;

  /** Names the image, its documents go in; config and layers should be here, those an engine had may be missing. */
  recordImage(image: ResolvedImage): Promise<void>;
  /** What was recorded last under this name (or digest), for the platform if one is wanted. */
  findImage(reference: ImageReference, platform?: Platform): Promise<ResolvedImage | undefined>;
  listImages(): Promise<StoredImage[]>;
  /** Config and layers of it that are here. */
  heldBlobs(image: Pick<StoredImage, 'digest'>): Promise<Descriptor[]>;
  /** Every platform of it, and the blobs that nothing else needs. @returns false where there is no such image */
  removeImage(reference: ImageReference): Promise<boolean>;

  /**
   * @param limit bytes, remembered for the next ones; absent: what was remembered, else 20 % of the file system
   * @param dryRun removes and remembers nothing
   */
  gc(limit?: number, dryRun?: boolean): Promise<GcResult>;
  /**
   * For a process that goes on after its pulls: what it has committed and recorded so far is no longer its own, and may be
   * collected once nobody uses it.
   */
  settle(): Promise<void>;
  usage(): Promise<Usage>;
  /**
   * Makes a file of the same content, an engine's, one with a blob, which then takes no place of its own.
   * @returns false where there is no such blob, or the file has another size or content; all of it is read
   * @throws the error of the system call, `EXDEV` where it lies on another mount
   */
  linkTo(digest: Digest, path: string, signal: AbortSignal): Promise<boolean>;
  /** That the disk has room for what is missing of these. @throws QuayctlError `disk-full` */
  assertRoom(blobs: readonly Descriptor[]): Promise<void>;
  /** Yields after any process added or removed blobs or images since the last `listImages`. Ends with the signal. */
  changes(signal: AbortSignal): AsyncIterable<void>;
  /** Lets go of leases and locks. Idempotent. */
  close(): Promise<void>;
}

type RecordMethods = 'saveTorrent' | 'loadTorrent' | 'noteService' | 'serviceOf';
