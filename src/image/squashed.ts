import { makeArtifact, type Artifact } from './artifact.ts';
import type { Descriptor } from './descriptor.ts';
import { digestHex, type Digest } from './digest.ts';
import type { ResolvedImage } from './manifest.ts';
import type { Platform } from './platform.ts';
import type { ImageReference } from './reference.ts';

const FILE_TYPE = 'application/x-tar';
const ARTIFACT_TYPE = 'application/vnd.quayctl.squashed-image';
const CONFIG_TYPE = 'application/vnd.quayctl.squashed-image.config.v1+json';

const SUFFIX = '.squash';
/** Longest tag (OCI distribution-spec). */
const MAX_TAG = 128;
/** The digits of a digest that people compare. */
const HEX_DIGITS = 12;

/**
 * The tag of a squashed image: `1.0.squash`; without a tag, or with one that has no room for more,
 * `sha256-3eecc807f63d.squash`.
 */
export function squashedTag(tag: string | undefined, digest: Digest): string {
  const named = `${tag ?? ''}${SUFFIX}`;
  if (tag !== undefined && named.length <= MAX_TAG) return named;
  return `sha256-${digestHex(digest).slice(0, HEX_DIGITS)}${SUFFIX}`;
}

/** The archive that `docker load` takes, with all layers as one. */
export function squashedDescriptor({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): Descriptor {
  return { mediaType: FILE_TYPE, digest, size };
}

/**
 * The archive as an OCI artifact, for a store that is an OCI layout.
 * @param source of the platform's manifest that it was made of
 */
export function squashedArtifact(
  reference: ImageReference,
  file: Descriptor,
  source: Descriptor,
  platform: Platform | undefined,
): Artifact {
  const { mediaType, digest, size } = source;
  return makeArtifact(reference, {
    type: ARTIFACT_TYPE,
    configType: CONFIG_TYPE,
    platform,
    files: [file],
    subject: { mediaType, digest, size },
  });
}

/** The way back: the archive, and the manifest that it was made of; undefined for other images. */
export function squashedOfArtifact({
  manifest: { artifactType, layers, subject },
}: ResolvedImage): { readonly file: Descriptor; readonly source: Digest } | undefined {
  const [file] = layers;
  if (artifactType !== ARTIFACT_TYPE || file === undefined || subject === undefined) return undefined;
  return { file, source: subject.digest };
}
