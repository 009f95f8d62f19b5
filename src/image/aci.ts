import { splitAppcName, type AppcName } from './appc-name.ts';
import { appcPlatform, platformOfAppc } from './appc-platform.ts';
import { makeArtifact, type Artifact } from './artifact.ts';
import type { Descriptor } from './descriptor.ts';
import { digestOf, type Digest } from './digest.ts';
import type { ResolvedImage } from './manifest.ts';
import type { Platform } from './platform.ts';
import { formatReference, parseImageReference, repositoryName, type ImageReference } from './reference.ts';

/** An App Container Image on its way into rkt. */
export interface AciImage {
  /** As asked for, `os` and `arch` among its labels. */
  readonly name: AppcName;
  /** The `.aci` file. */
  readonly aci: Descriptor;
  /** The `.aci.asc` file; absent where signatures are not to be checked. */
  readonly signature?: Descriptor;
  /** What rkt calls it, `sha512-` and 64 hex digits; absent where nothing told. */
  readonly imageId?: string;
  /** Of the image that it was made of, where its torrent says so. */
  readonly manifest?: Digest;
}

const ACI_TYPE = 'application/vnd.appc.aci';
const SIGNATURE_TYPE = 'application/pgp-signature';
const ARTIFACT_TYPE = 'application/vnd.appc.image';
const IMAGE_ID = 'io.github.quayctl.aci.image-id';
/** A store may hold the Docker image of that name as well. */
const TAG_SUFFIX = '.aci';
const CONFIG_TYPE = 'application/vnd.appc.image.config.v1+json';

export function aciDescriptor({ digest, size }: Pick<Descriptor, 'digest' | 'size'>): Descriptor {
  return { mediaType: ACI_TYPE, digest, size };
}

export function signatureDescriptor(bytes: Uint8Array): Descriptor {
  return { mediaType: SIGNATURE_TYPE, digest: digestOf(bytes), size: bytes.length };
}

/**
 * Under which name a store keeps it: `quay.io/ns/repo:1.0.aci`. Undefined for names that are good for appc alone
 * (a host without a path, `~`).
 */
export function aciReference(name: AppcName): ImageReference | undefined {
  const { host, path } = splitAppcName(name);
  const tag = `${name.labels['version'] ?? 'latest'}${TAG_SUFFIX}`;
  const text = `${host}/${path}:${tag}`;
  const parsed = path === '' ? undefined : parseOrNot(text);
  return parsed !== undefined && formatReference(parsed) === text ? parsed : undefined;
}

/** The ACI and its signature as an OCI artifact, for a store that is an OCI layout. */
export function aciArtifact(
  { name, aci, signature, imageId }: AciImage,
  reference: ImageReference,
): Artifact {
  return makeArtifact(reference, {
    type: ARTIFACT_TYPE,
    configType: CONFIG_TYPE,
    platform: platformOf(name),
    files: [aci, ...(signature === undefined ? [] : [signature])],
    ...(imageId === undefined ? {} : { annotations: { [IMAGE_ID]: imageId } }),
  });
}

/** For which platform an ACI is asked for. */
export function platformOf({ labels: { os = '', arch = '' } }: AppcName): Platform | undefined {
  return platformOfAppc({ os, arch });
}

/** The ACI among a stored image's blobs, and the name by which it is asked for; undefined for other images. */
export function storedAci(
  { reference, platform }: { readonly reference: ImageReference; readonly platform?: Platform },
  blobs: readonly Descriptor[],
): Pick<AciImage, 'name' | 'aci'> | undefined {
  const aci = blobs.find(({ mediaType }) => mediaType === ACI_TYPE);
  if (aci === undefined || platform === undefined || reference.tag?.endsWith(TAG_SUFFIX) !== true) {
    return undefined;
  }
  const version = reference.tag.slice(0, -TAG_SUFFIX.length);
  return { name: { name: repositoryName(reference), labels: { version, ...appcPlatform(platform) } }, aci };
}

/** The way back; undefined for what is no ACI. */
export function aciOfArtifact(
  name: AppcName,
  { manifest: { layers, annotations, artifactType } }: ResolvedImage,
): AciImage | undefined {
  const aci = layers.find(({ mediaType }) => mediaType === ACI_TYPE);
  const signature = layers.find(({ mediaType }) => mediaType === SIGNATURE_TYPE);
  const imageId = annotations?.[IMAGE_ID];
  if (aci === undefined || artifactType !== ARTIFACT_TYPE) return undefined;
  return {
    name,
    aci,
    ...(signature === undefined ? {} : { signature }),
    ...(imageId === undefined ? {} : { imageId }),
  };
}

function parseOrNot(text: string): ImageReference | undefined {
  try {
    return parseImageReference(text);
  } catch {
    return undefined;
  }
}
