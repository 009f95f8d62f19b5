import type { Descriptor } from './descriptor.ts';
import type { Digest } from './digest.ts';
import type { ImageReference } from './reference.ts';

/** OCI image-spec manifest.md, or Docker's manifest v2 schema 2: the same shape with other media types. */
export interface ImageManifest {
  readonly kind: 'manifest';
  readonly mediaType: string;
  readonly config: Descriptor;
  /** Base layer first. The same descriptor may stand here more than once. */
  readonly layers: readonly Descriptor[];
  readonly artifactType?: string;
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** OCI image-spec image-index.md, or Docker's manifest list. */
export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A manifest or index as the registry keeps it: the bytes are what the digest is of. */
export interface ManifestDocument {
  /** `digest` and `size` are of `bytes`, checked. */
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** Reference -> index (if any) -> platform -> manifest; every digest on the way has been checked. */
export interface ResolvedImage {
  readonly reference: ImageReference;
  readonly index?: ManifestDocument;
  readonly document: ManifestDocument;
  readonly manifest: ImageManifest;
}

/** OCI image-spec config.md: what quayctl itself reads of it. `bytes` is the config as it is. */
export interface ImageConfig {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  /** SHA-256 of each layer's uncompressed tar, base first. */
  readonly diffIds: readonly Digest[];
  readonly bytes: Uint8Array;
}

/** A resolved image with its config read: what an engine can be asked about and can load. */
export interface RunnableImage extends ResolvedImage {
  readonly config: ImageConfig;
}
