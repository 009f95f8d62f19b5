import { descriptorJson, type Descriptor } from './descriptor.ts';
import { digestOf } from './digest.ts';
import { parseManifest, type ResolvedImage } from './manifest.ts';
import { OCI_MANIFEST } from './media-types.ts';
import type { Platform } from './platform.ts';
import type { ImageReference } from './reference.ts';

/** A file that is no OCI image, as a store keeps it: an OCI artifact (OCI image-spec, manifest.md). */
export interface Artifact {
  readonly image: ResolvedImage;
  /** The config blob, which says for which platform it is. */
  readonly config: Uint8Array;
}

/** The manifest and config of an artifact. */
export function makeArtifact(
  reference: ImageReference,
  of: {
    readonly type: string;
    readonly configType: string;
    readonly platform: Platform | undefined;
    readonly files: readonly Descriptor[];
    /** The manifest that it was made of. */
    readonly subject?: Descriptor;
    readonly annotations?: Readonly<Record<string, string>>;
  },
): Artifact {
  const config = Buffer.from(JSON.stringify({ ...of.platform, rootfs: { type: 'layers', diff_ids: [] } }));
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: of.type,
    config: { mediaType: of.configType, digest: digestOf(config), size: config.length },
    layers: of.files.map(descriptorJson),
    ...(of.subject === undefined ? {} : { subject: descriptorJson(of.subject) }),
    ...(of.annotations === undefined ? {} : { annotations: of.annotations }),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const descriptor = { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length };
  const parsed = parseManifest(bytes, OCI_MANIFEST);
  if (parsed.kind !== 'manifest') throw new TypeError('an artifact is a manifest');
  return { image: { reference, document: { descriptor, bytes }, manifest: parsed }, config };
}
