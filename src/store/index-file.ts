import { rename, stat } from 'node:fs/promises';
import { QuayctlError } from '../base/errors.ts';
import { descriptorJson, parseDescriptor, type Descriptor } from '../image/descriptor.ts';
import { INDEX_FILE, layoutIndex, REF_NAME } from '../image/layout.ts';
import { digestOf, isDigest, type Digest } from '../image/digest.ts';
import { list, parseJsonObject, type JsonObject } from '../image/json.ts';
import { isManifestType, OCI_INDEX, OCI_MANIFEST } from '../image/media-types.ts';
import type { ManifestDocument } from '../image/manifest.ts';
import { formatPlatform, type Platform } from '../image/platform.ts';
import { formatReference, parseImageReference, type ImageReference } from '../image/reference.ts';
import { isAbsent, readBounded, replacePrivateFile } from './disk.ts';
import type { StorePaths } from './paths.ts';

/** As image/layout.ts has it: thousands of images at about 300 bytes each. */
const MAX_INDEX_BYTES = 16 * 1024 * 1024;
/** Images in the index of the store. */
const MAX_ENTRIES = 50_000;
/** Which index the manifest was chosen from; of no concern to other tools. */
const INDEX_DIGEST = 'io.github.quayctl.index';
/** Of an entry that is only the carrier of a manifest: `mediaType digest size`. */
const CARRIED = 'io.github.quayctl.manifest';

/** An entry of index.json that quayctl wrote: its name is a full reference. */
export interface NamedImage {
  readonly name: string;
  readonly reference: ImageReference;
  /** Of the manifest. */
  readonly descriptor: Descriptor;
  /** The index with that manifest alone, where the entry had to be one. */
  readonly carrier?: Digest;
  /** Digest of the index that the manifest was chosen from. */
  readonly index?: Digest;
}

/** index.json: entries as they stand there, also those of other tools, which are kept as they are. */
export type LayoutEntries = readonly JsonObject[];

/**
 * @throws QuayctlError `protocol`, `limit` for garbage
 */
export function parseEntries(bytes: Uint8Array): LayoutEntries {
  const json = parseJsonObject(bytes, INDEX_FILE, MAX_INDEX_BYTES);
  const entries = list(json['manifests'] ?? null, `${INDEX_FILE}: manifests`, MAX_ENTRIES);
  return entries.filter((entry): entry is JsonObject => typeof entry === 'object' && entry !== null);
}

export function formatEntries(entries: LayoutEntries): Uint8Array {
  const empty = JSON.parse(Buffer.from(layoutIndex([])).toString()) as JsonObject;
  return Buffer.from(`${JSON.stringify({ ...empty, manifests: entries }, undefined, 2)}\n`);
}

/** An entry for index.json, and the blob that has to stand beside it. */
export interface LayoutEntry {
  readonly entry: JsonObject;
  readonly carrier?: ManifestDocument;
}

/**
 * The entry of an image. In a layout skopeo and podman find nothing but OCI manifests and indexes by name, so a
 * manifest of Docker's type is carried by an OCI index with it alone; its own bytes, and its digest, stay as they are.
 */
export function layoutEntry(
  document: ManifestDocument,
  platform: Platform | undefined,
  annotations: Readonly<Record<string, string>>,
): LayoutEntry {
  const { mediaType, digest, size } = document.descriptor;
  const where = platform === undefined ? {} : { platform };
  if (!isManifestType(mediaType) || mediaType === OCI_MANIFEST) {
    return { entry: descriptorJson({ mediaType, digest, size, annotations, ...where }) };
  }
  const bytes = layoutIndex([{ mediaType, digest, size, ...where }]);
  const descriptor = { mediaType: OCI_INDEX, digest: digestOf(bytes), size: bytes.length };
  const carried = { [CARRIED]: `${mediaType} ${digest} ${size}` };
  return {
    entry: descriptorJson({ ...descriptor, annotations: { ...annotations, ...carried }, ...where }),
    carrier: { descriptor, bytes },
  };
}

/** Annotations of an entry of the store. @param index that the manifest was chosen from */
export function storeAnnotations(name: string, index: Digest | undefined): Record<string, string> {
  return { [REF_NAME]: name, ...(index === undefined ? {} : { [INDEX_DIGEST]: index }) };
}

/** With the entry, in place of the one of the same name and platform. */
export function mergeEntry(entries: LayoutEntries, entry: JsonObject): JsonObject[] {
  const key = entryKey(entry);
  return [...entries.filter((other) => entryKey(other) !== key), entry];
}

function entryKey(entry: JsonObject): string | JsonObject {
  const descriptor = descriptorOf(entry);
  const name = descriptor?.annotations?.[REF_NAME];
  if (descriptor === undefined || name === undefined) return entry;
  const { platform } = descriptor;
  return JSON.stringify([name, platform === undefined ? null : formatPlatform(platform)]);
}

/** Undefined for what is no descriptor that we understand. */
export function descriptorOf(entry: JsonObject): Descriptor | undefined {
  try {
    return parseDescriptor(entry, INDEX_FILE);
  } catch (error) {
    if (error instanceof QuayctlError) return undefined;
    throw error;
  }
}

/** Undefined for entries of other tools. */
export function namedImage(entry: JsonObject): NamedImage | undefined {
  const outer = descriptorOf(entry);
  const name = outer?.annotations?.[REF_NAME];
  if (outer === undefined || name === undefined) return undefined;
  const descriptor = carriedBy(outer);
  const reference = referenceOf(name);
  if (descriptor === undefined || reference === undefined) return undefined;
  const index = outer.annotations?.[INDEX_DIGEST];
  return {
    name,
    reference,
    descriptor,
    ...(descriptor === outer ? {} : { carrier: outer.digest }),
    ...(index !== undefined && isDigest(index) ? { index } : {}),
  };
}

function carriedBy(outer: Descriptor): Descriptor | undefined {
  const carried = outer.annotations?.[CARRIED];
  if (carried === undefined) return outer;
  const [mediaType, digest, size] = carried.split(' ', 3);
  const { platform } = outer;
  const inner = descriptorOf({ mediaType, digest, size: Number(size) });
  return inner === undefined || platform === undefined ? inner : { ...inner, platform };
}

/** Only full names are ours. */
function referenceOf(name: string): ImageReference | undefined {
  try {
    const reference = parseImageReference(name);
    return formatReference(reference) === name ? reference : undefined;
  } catch (error) {
    if (error instanceof QuayctlError) return undefined;
    throw error;
  }
}

/**
 * Reads the store's index.json; one that is missing or damaged is replaced in what is returned by our last copy.
 * @returns `damaged`: it is there and cannot be understood
 */
export async function readIndex(paths: StorePaths): Promise<{ entries: LayoutEntries; damaged: boolean }> {
  const there = await stat(paths.index).catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
  const entries = tolerant(await readBounded(paths.index, MAX_INDEX_BYTES));
  if (entries !== undefined) return { entries, damaged: false };
  const copy = tolerant(await readBounded(paths.indexCopy, MAX_INDEX_BYTES));
  return { entries: copy ?? [], damaged: there !== undefined };
}

/** Must be called under the lock of the index. What was damaged is put aside, not lost. */
export async function writeIndex(paths: StorePaths, entries: LayoutEntries): Promise<void> {
  const { damaged } = await readIndex(paths);
  if (damaged) await rename(paths.index, paths.own(`index.json.damaged-${Date.now()}`));
  const bytes = formatEntries(entries);
  await replacePrivateFile(paths.own('tmp'), paths.index, bytes, { durable: true });
  await replacePrivateFile(paths.own('tmp'), paths.indexCopy, bytes);
}

function tolerant(bytes: Uint8Array | undefined): LayoutEntries | undefined {
  if (bytes === undefined) return undefined;
  try {
    return parseEntries(bytes);
  } catch (error) {
    if (error instanceof QuayctlError) return undefined;
    throw error;
  }
}
