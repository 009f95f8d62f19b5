import { QuayctlError } from '../base/errors.ts';

/** OCI image-spec media-types.md, and Docker's image manifest v2 schema 2. */
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_MANIFEST_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';

/**
 * What is accepted when a manifest is asked for, most wanted first; schema 1 is left out, so that no registry converts
 * to it.
 */
export const MANIFEST_TYPES: readonly string[] = [
  OCI_INDEX,
  OCI_MANIFEST,
  DOCKER_MANIFEST_LIST,
  DOCKER_MANIFEST,
];

export function isManifestType(mediaType: string): boolean {
  return mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST;
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === OCI_INDEX || mediaType === DOCKER_MANIFEST_LIST;
}

/** `application/vnd.docker.distribution.manifest.v1+json` and `...v1+prettyjws`. */
export function isSchema1Type(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.docker.distribution.manifest.v1+');
}

export type LayerCompression = 'none' | 'gzip' | 'zstd';

// Docker writes `...diff.tar.gzip`, OCI `...tar+gzip`; buildkit has written each suffix on each base.
const LAYER =
  /^application\/vnd\.(?:docker\.image\.rootfs\.(?<foreign>foreign\.)?diff\.tar|oci\.image\.layer\.(?<restricted>nondistributable\.)?v1\.tar)(?:[.+](?<compression>gzip|zstd))?$/;

/**
 * How the blob of a layer is compressed, by its media type.
 * @throws QuayctlError `unsupported` for an encrypted layer, or a type that is no file system layer
 */
export function layerCompression(mediaType: string): LayerCompression {
  const groups = LAYER.exec(mediaType)?.groups;
  if (groups !== undefined) return (groups['compression'] as 'gzip' | 'zstd' | undefined) ?? 'none';
  if (mediaType.endsWith('+encrypted')) {
    throw new QuayctlError('unsupported', `layer of type ${mediaType}: encrypted layers are not supported`);
  }
  throw new QuayctlError('unsupported', `layer of type ${mediaType}: not a file system layer`);
}

/** A layer that registries may refuse to hold; the descriptor's `urls` say where it is. */
export function isForeignLayer(mediaType: string): boolean {
  const groups = LAYER.exec(mediaType)?.groups;
  return groups?.['foreign'] !== undefined || groups?.['restricted'] !== undefined;
}
