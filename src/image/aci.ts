import { splitAppcName, type AppcName } from './appc-name.ts';
import { descriptorJson, type Descriptor } from './descriptor.ts';
import { digestOf } from './digest.ts';
import { parseManifest, type ResolvedImage } from './manifest.ts';
import { OCI_MANIFEST } from './media-types.ts';
import { formatReference, parseImageReference, type ImageReference } from './reference.ts';

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
}

const ACI_TYPE = 'application/vnd.appc.aci';
const SIGNATURE_TYPE = 'application/pgp-signature';
const ARTIFACT_TYPE = 'application/vnd.appc.image';
const IMAGE_ID = 'io.github.quayctl.aci.image-id';
/** A store may hold the Docker image of that name as well. */
const TAG_SUFFIX = '.aci';
/** OCI image-spec, manifest.md, "Guidance for an Empty Descriptor". */
export const EMPTY_CONFIG = Buffer.from('{}');
const EMPTY_DESCRIPTOR: Descriptor = {
  mediaType: 'application/vnd.oci.empty.v1+json',
  digest: digestOf(EMPTY_CONFIG),
  size: EMPTY_CONFIG.length,
};

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

/** The ACI and its signature as an OCI artifact (OCI image-spec, manifest.md), for a store that is an OCI layout. */
export function aciArtifact({ aci, signature, imageId }: AciImage, reference: ImageReference): ResolvedImage {
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: ARTIFACT_TYPE,
    config: EMPTY_DESCRIPTOR,
    layers: [aci, ...(signature === undefined ? [] : [signature])].map(descriptorJson),
    ...(imageId === undefined ? {} : { annotations: { [IMAGE_ID]: imageId } }),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const descriptor = { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length };
  const parsed = parseManifest(bytes, OCI_MANIFEST);
  if (parsed.kind !== 'manifest') throw new TypeError('an artifact is a manifest');
  return { reference, document: { descriptor, bytes }, manifest: parsed };
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
