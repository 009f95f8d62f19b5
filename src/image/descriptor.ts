import type { Digest } from './digest.ts';
import type { Platform } from './platform.ts';

/** What one blob is: type, digest and size in bytes (OCI image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes; a non-negative safe integer. */
  readonly size: number;
  /** Where a foreign (non-distributable) layer is to be had; http and https only. */
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Platform;
  readonly artifactType?: string;
}
