import { QuayctlError } from '../base/errors.ts';
import { parseAnnotations, parseDescriptor, type Descriptor } from './descriptor.ts';
import type { Digest } from './digest.ts';
import { list, optionalText, parseJsonObject, type JsonObject } from './json.ts';
import {
  assertLayerType,
  DOCKER_CONFIG,
  DOCKER_MANIFEST,
  isIndexType,
  isManifestType,
  isSchema1Type,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
} from './media-types.ts';
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
  /** The index in which the manifest stands, where that is in turn an entry of `index`. */
  readonly innerIndex?: ManifestDocument;
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

/**
 * The size of a manifest or index. Registries have to accept 4 MiB (OCI distribution-spec), so images stay below it.
 */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** The size of an image config. Most have a few KiB; with SBOMs in their labels they reach some hundred. */
export const MAX_CONFIG_BYTES = 8 * 1024 * 1024;
/** Layers of an image, or files of an artifact. Overlay file systems end at about 500 layers, Docker at 127. */
const MAX_LAYERS = 1000;
/** Entries of an image index. Official images have about 20, nightly builds for many platforms some hundred. */
const MAX_INDEX_ENTRIES = 10_000;
const MAX_MEDIA_TYPE = 255;

/** What registries of 2016 made of Docker's config type; Docker takes them for images (docker/distribution#1621). */
const OLD_DOCKER_CONFIGS = new Set(['application/octet-stream', 'application/json', 'text/html']);

/** Content types of servers that do not know what they serve; the document then says what it is. */
const GENERIC_TYPES = new Set([
  '',
  'application/json',
  'application/octet-stream',
  'binary/octet-stream',
  'text/plain',
]);

/**
 * A manifest or index from a registry, a store or a layout. The digest of the bytes is the caller's to check.
 * @param contentType of the answer, parameters and all; absent where nothing told it
 * @throws QuayctlError `limit`, `protocol`; `unsupported` for schema 1, unknown types and other digests than SHA-256
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): ImageManifest | ImageIndex {
  const json = parseJsonObject(bytes, 'manifest', MAX_MANIFEST_BYTES);
  const mediaType = manifestType(json, contentType);
  refuseAmbiguous(json, mediaType);
  return isIndexType(mediaType)
    ? parseIndex(json, mediaType, MAX_INDEX_ENTRIES)
    : parseImage(json, mediaType);
}

/**
 * Why no engine can run this: it is an artifact (a chart, a signature, an attestation, ...), has a config that is
 * too large to be read, or layers that are no file system layers. Undefined for an image.
 */
export function unrunnableReason(manifest: ImageManifest): string | undefined {
  const { config, layers, artifactType } = manifest;
  if (!isImageConfig(manifest)) {
    return `it is an artifact of type ${artifactType ?? config.mediaType}, not an image`;
  }
  // Told before it is fetched: it is read into memory as a whole.
  if (config.size > MAX_CONFIG_BYTES) {
    return `its config has ${config.size} bytes, more than ${MAX_CONFIG_BYTES} are not read`;
  }
  try {
    for (const layer of layers) assertLayerType(layer.mediaType);
    return undefined;
  } catch (error) {
    if (error instanceof QuayctlError) return error.message;
    throw error;
  }
}

function isImageConfig({ mediaType, config }: ImageManifest): boolean {
  if (config.mediaType === OCI_CONFIG || config.mediaType === DOCKER_CONFIG) return true;
  return mediaType === DOCKER_MANIFEST && OLD_DOCKER_CONFIGS.has(config.mediaType);
}

/**
 * Entries that cannot be read (another digest than SHA-256, null) are left out: they are of platforms that are perhaps not
 * wanted, and every other tool passes over them.
 * @throws QuayctlError `protocol`, `limit`; `unsupported`, or what is wrong with the first, where no entry can be read
 */
export function parseIndex(json: JsonObject, mediaType: string, maxEntries: number): ImageIndex {
  const entries = list(json['manifests'], 'index: manifests', maxEntries);
  const annotations = parseAnnotations(json['annotations'], 'index');
  return {
    kind: 'index',
    mediaType,
    manifests: readableEntries(entries),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function readableEntries(entries: readonly unknown[]): Descriptor[] {
  let failure: QuayctlError | undefined;
  const readable = entries.flatMap((entry, at) => {
    try {
      return parseDescriptor(entry, `index: entry ${at}`, { mediaType: OCI_MANIFEST, size: 0 });
    } catch (error) {
      if (!(error instanceof QuayctlError)) throw error;
      failure ??= error;
      return [];
    }
  });
  if (readable.length === 0 && failure !== undefined) throw failure;
  return readable;
}

function parseImage(json: JsonObject, mediaType: string): ImageManifest {
  const layers = list(json['layers'], 'manifest: layers', MAX_LAYERS);
  const annotations = parseAnnotations(json['annotations'], 'manifest');
  const artifactType = optionalText(json['artifactType'], 'manifest: artifactType', MAX_MEDIA_TYPE);
  const subject = json['subject'];
  const manifest: ImageManifest = {
    kind: 'manifest',
    mediaType,
    config: parseDescriptor(json['config'], 'manifest: config', {
      mediaType: mediaType === DOCKER_MANIFEST ? DOCKER_CONFIG : OCI_CONFIG,
    }),
    layers: layers.map((layer, at) =>
      parseDescriptor(layer, `manifest: layer ${at}`, { mediaType: OCI_LAYER }),
    ),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(subject === undefined || subject === null
      ? {}
      : { subject: parseDescriptor(subject, 'manifest: subject') }),
    ...(annotations === undefined ? {} : { annotations }),
  };
  const total = manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size);
  if (!Number.isSafeInteger(total))
    throw new QuayctlError('limit', 'manifest: the sizes add up to more than 2^53');
  return manifest;
}

/** The document's `mediaType`, which OCI leaves optional, else the content type, else what its fields say. */
function manifestType(json: JsonObject, contentType: string | undefined): string {
  const told = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const header = GENERIC_TYPES.has(told) ? undefined : told;
  const field = optionalText(json['mediaType'], 'manifest: mediaType', MAX_MEDIA_TYPE);
  if (json['schemaVersion'] === 1 || isSchema1Type(field ?? header ?? '')) {
    throw new QuayctlError('unsupported', 'manifest: schema 1, which nothing current can run', {
      hint: 'pull it with an old Docker and push it again, or rebuild it',
    });
  }
  if ((json['schemaVersion'] ?? 2) !== 2)
    throw new QuayctlError('protocol', 'manifest: schemaVersion is not 2');
  if (field !== undefined && header !== undefined && field !== header) {
    throw new QuayctlError('protocol', `manifest: says it is ${show(field)}, was served as ${show(header)}`);
  }
  const mediaType =
    field ?? header ?? ((json['manifests'] ?? undefined) === undefined ? OCI_MANIFEST : OCI_INDEX);
  if (isManifestType(mediaType) || isIndexType(mediaType)) return mediaType;
  throw new QuayctlError(
    'unsupported',
    `manifest: media type ${show(mediaType)} is neither an image nor an index`,
  );
}

/** CVE-2021-41190: a document that one reader takes for a manifest and another for an index is nobody's. */
function refuseAmbiguous(json: JsonObject, mediaType: string): void {
  const foreign = isIndexType(mediaType) ? ['config', 'layers', 'fsLayers'] : ['manifests', 'fsLayers'];
  const found = foreign.find((field) => json[field] !== undefined && json[field] !== null);
  if (found === undefined) return;
  throw new QuayctlError('protocol', `manifest: of type ${mediaType}, but with the field ${found}`);
}

function show(mediaType: string): string {
  return JSON.stringify(mediaType.slice(0, MAX_MEDIA_TYPE));
}
