import type { Digest } from '../../image/digest.ts';
import type { ImageConfig, ImageManifest } from '../../image/manifest.ts';
import type { LayerSource } from '../../layers/merge.ts';

/** What an image is made into something else from: its blobs are on this disk, and verified. */
export interface SourceImage {
  /** The digest of the platform's manifest. */
  readonly digest: Digest;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
  /** Base first. */
  readonly layers: readonly LayerSource[];
}

/**
 * How one kind of derived image is made. The same manifest, recipe and build make the same bytes: nothing of the hour,
 * of chance or of the place may go in.
 */
export interface Recipe {
  /** Goes into messages: `squashed image`, `ACI`. */
  readonly kind: string;
  /** All that the bytes depend on besides the manifest: a version of the recipe, names. */
  readonly inputs: readonly string[];
  /**
   * Looks at the config before the layers are fetched: an image that the recipe cannot be used for costs no more.
   * @throws QuayctlError
   */
  readonly check?: (config: ImageConfig) => void;
  /**
   * @param path of a file that is not there yet
   * @returns what is to be remembered beside it (an image ID, a signature)
   * @throws QuayctlError
   */
  write(source: SourceImage, path: string, signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
}
