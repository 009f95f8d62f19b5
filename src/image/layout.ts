import { QuayctlError } from '../base/errors.ts';
import { descriptorJson, type Descriptor } from './descriptor.ts';
import { digestHex, type Digest } from './digest.ts';
import { parseJsonObject } from './json.ts';
import { parseIndex, type ImageIndex } from './manifest.ts';
import { OCI_INDEX } from './media-types.ts';

/** OCI image-spec image-layout.md: names of the files beside `blobs/`. */
export const LAYOUT_FILE = 'oci-layout';
export const INDEX_FILE = 'index.json';

/** Annotation of an entry: the tag, or whatever the writer took for a name (OCI image-spec annotations.md). */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** Annotation of an entry: the full name (`docker.io/library/ubuntu:22.04`) under which containerd loads it. */
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** `{"imageLayoutVersion":"1.0.0"}` and no more. */
const MAX_LAYOUT_FILE_BYTES = 4096;
/** A store on a build machine holds thousands of images, at about 300 bytes each. */
const MAX_INDEX_BYTES = 16 * 1024 * 1024;
const MAX_INDEX_ENTRIES = 50_000;

/** The content of `oci-layout`. */
export function layoutFile(): Uint8Array {
  return Buffer.from('{"imageLayoutVersion":"1.0.0"}');
}

/** @throws QuayctlError `protocol`, `limit`; `unsupported` for a layout of another major version */
export function checkLayoutFile(bytes: Uint8Array): void {
  const { imageLayoutVersion: version } = parseJsonObject(bytes, LAYOUT_FILE, MAX_LAYOUT_FILE_BYTES);
  if (typeof version === 'string' && version.startsWith('1.')) return;
  throw new QuayctlError('unsupported', `${LAYOUT_FILE}: not version 1 of the OCI image layout`);
}

/** @throws QuayctlError `protocol`, `limit`, `unsupported` */
export function parseLayoutIndex(bytes: Uint8Array): ImageIndex {
  const json = parseJsonObject(bytes, INDEX_FILE, MAX_INDEX_BYTES);
  if ((json['schemaVersion'] ?? 2) !== 2)
    throw new QuayctlError('protocol', `${INDEX_FILE}: schemaVersion is not 2`);
  const mediaType = json['mediaType'] ?? OCI_INDEX;
  if (mediaType !== OCI_INDEX)
    throw new QuayctlError('protocol', `${INDEX_FILE}: not of the type ${OCI_INDEX}`);
  return parseIndex(json, mediaType, MAX_INDEX_ENTRIES);
}

/** The content of `index.json`, entries in the order given. */
export function layoutIndex(entries: readonly Descriptor[]): Uint8Array {
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries.map(descriptorJson) };
  return Buffer.from(`${JSON.stringify(index, undefined, 2)}\n`);
}

/** The path of a blob in a layout, with slashes: `blobs/sha256/<hex>`. */
export function blobPath(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}
