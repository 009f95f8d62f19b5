import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { JsonObject } from '../image/json.ts';
import { MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, parseManifest } from '../image/manifest.ts';
import type { ImageIndex, ImageManifest, ManifestDocument, ResolvedImage } from '../image/manifest.ts';
import { parseImageConfig } from '../image/config.ts';
import { choosePlatform, normalizePlatform, type Platform } from '../image/platform.ts';
import { formatReference, type ImageReference } from '../image/reference.ts';
import { walkIndex } from '../image/walk-index.ts';
import { QuayctlError } from '../base/errors.ts';
import type { BlobFiles } from './blob-files.ts';
import {
  descriptorOf,
  layoutEntry,
  mergeEntry,
  namedImage,
  readIndex,
  storeAnnotations,
  writeIndex,
} from './index-file.ts';
import type { NamedImage } from './index-file.ts';
import type { StorePaths } from './paths.ts';

/** An image that the store knows by name. */
export interface StoredImage {
  readonly reference: ImageReference;
  /** Of the platform's manifest. */
  readonly digest: Digest;
  readonly index?: Digest;
  readonly platform?: Platform;
  /** Bytes of its blobs, each counted once, those that are not here included. */
  readonly size: number;
  readonly lastUsed: Date;
  /** Every blob is here (an engine may have had layers that were never downloaded). */
  readonly complete: boolean;
}

/** The images of the store: index.json and the documents behind it. Writers hold the lock of the index. */
export class StoreIndex {
  readonly #paths: StorePaths;
  readonly #blobs: BlobFiles;

  constructor(paths: StorePaths, blobs: BlobFiles) {
    this.#paths = paths;
    this.#blobs = blobs;
  }

  async record(image: ResolvedImage): Promise<void> {
    const { reference, document, index } = image;
    for (const { descriptor, bytes } of index === undefined ? [document] : [index, document]) {
      await this.#blobs.put(descriptor.digest, bytes);
      await this.#touch(descriptor.digest);
    }
    const platform = await this.#platformOf(image);
    const annotations = storeAnnotations(formatReference(reference), index?.descriptor.digest);
    const { entry, carrier } = layoutEntry(document, platform, annotations);
    if (carrier !== undefined) await this.#blobs.put(carrier.descriptor.digest, carrier.bytes);
    const { entries, damaged } = await readIndex(this.#paths);
    const merged = mergeEntry(entries, entry);
    if (!damaged && JSON.stringify(merged) === JSON.stringify(entries)) return;
    await writeIndex(this.#paths, merged);
  }

  /** Undefined where it is not known, not for that platform, or its documents are damaged. */
  async find(reference: ImageReference, platform: Platform | undefined): Promise<ResolvedImage | undefined> {
    const image = choose(await this.#matching(reference), reference, platform);
    if (image === undefined) return undefined;
    const document = await this.#document(image.descriptor);
    const manifest =
      document === undefined ? undefined : parseDocument(document.bytes, image.descriptor.mediaType);
    if (document === undefined || manifest?.kind !== 'manifest') return undefined;
    await this.#touch(image.descriptor.digest);
    const index = image.index === undefined ? undefined : await this.#indexDocument(image.index);
    return { reference, document, manifest, ...(index === undefined ? {} : { index }) };
  }

  async list(): Promise<StoredImage[]> {
    const { entries } = await readIndex(this.#paths);
    const images: StoredImage[] = [];
    for (const entry of entries) {
      const image = namedImage(entry);
      if (image !== undefined) images.push(await this.#describe(image));
    }
    return images;
  }

  /** Config and layers that are here, each once, config first. */
  async heldBlobs(image: Pick<StoredImage, 'digest'>): Promise<Descriptor[]> {
    const held: Descriptor[] = [];
    for (const blob of await this.#parts(image.digest)) {
      if ((await this.#blobs.find(blob.digest))?.size === blob.size) held.push(blob);
    }
    return held;
  }

  /** Takes the name away; the blobs stay. @returns false where there is no such image */
  async forget(wanted: (image: NamedImage) => boolean): Promise<boolean> {
    const { entries } = await readIndex(this.#paths);
    const left = entries.filter((entry) => {
      const image = namedImage(entry);
      return image === undefined || !wanted(image);
    });
    if (left.length === entries.length) return false;
    await writeIndex(this.#paths, left);
    return true;
  }

  /** Everything that index.json leads to. */
  async referenced(): Promise<Set<Digest>> {
    const { entries } = await readIndex(this.#paths);
    const found = new Set<Digest>();
    for (const entry of entries) await this.#follow(entry, found);
    return found;
  }

  /** What an entry leads to. */
  async reach(digest: Digest, index: Digest | undefined): Promise<Set<Digest>> {
    const found = new Set<Digest>(index === undefined ? [] : [index]);
    await this.#collect(digest, found);
    return found;
  }

  async #follow(entry: JsonObject, found: Set<Digest>): Promise<void> {
    const descriptor = descriptorOf(entry);
    if (descriptor === undefined) return;
    const image = namedImage(entry);
    // The other platforms of that index are other entries, if they are here at all.
    if (image?.index !== undefined) found.add(image.index);
    if (image?.carrier !== undefined) found.add(image.carrier);
    await this.#collect(image?.descriptor.digest ?? descriptor.digest, found);
  }

  async #collect(root: Digest, found: Set<Digest>): Promise<void> {
    for await (const { selector, parsed } of walkIndex([root], (digest) => this.#parsed(digest))) {
      found.add(selector);
      if (parsed?.kind === 'index') for (const { digest } of parsed.manifests) found.add(digest);
      if (parsed?.kind === 'manifest')
        for (const { digest } of [parsed.config, ...parsed.layers]) found.add(digest);
    }
  }

  async #parsed(digest: Digest): Promise<ImageManifest | ImageIndex | undefined> {
    const bytes = await this.#blobs.document(digest, MAX_MANIFEST_BYTES);
    return bytes === undefined ? undefined : parseDocument(bytes, undefined);
  }

  async #matching(reference: ImageReference): Promise<NamedImage[]> {
    const { entries } = await readIndex(this.#paths);
    return entries.flatMap((entry) => {
      const image = namedImage(entry);
      return image !== undefined && answersTo(image, reference) ? [image] : [];
    });
  }

  async #describe({ reference, descriptor, index }: NamedImage): Promise<StoredImage> {
    const { digest, platform } = descriptor;
    const manifest = await this.#blobs.find(digest);
    const parts = await this.#parts(digest);
    const found = await Promise.all(parts.map((part) => this.#blobs.find(part.digest)));
    return {
      reference,
      digest,
      ...(index === undefined ? {} : { index }),
      ...(platform === undefined ? {} : { platform }),
      size: parts.reduce((sum, { size }) => sum + size, descriptor.size),
      lastUsed: manifest?.lastUsed ?? new Date(0),
      complete: parts.length > 0 && found.every((blob, at) => blob?.size === parts[at]?.size),
    };
  }

  /** Config and layers of a manifest, each once. */
  async #parts(digest: Digest): Promise<Descriptor[]> {
    const parsed = await this.#parsed(digest);
    if (parsed?.kind !== 'manifest') return [];
    return [...new Map([parsed.config, ...parsed.layers].map((part) => [part.digest, part])).values()];
  }

  async #document(descriptor: Descriptor): Promise<ManifestDocument | undefined> {
    const bytes = await this.#blobs.document(descriptor.digest, MAX_MANIFEST_BYTES);
    const { mediaType, digest, size } = descriptor;
    return bytes === undefined ? undefined : { descriptor: { mediaType, digest, size }, bytes };
  }

  async #indexDocument(digest: Digest): Promise<ManifestDocument | undefined> {
    const bytes = await this.#blobs.document(digest, MAX_MANIFEST_BYTES);
    const parsed = bytes === undefined ? undefined : parseDocument(bytes, undefined);
    if (bytes === undefined || parsed?.kind !== 'index') return undefined;
    return { descriptor: { mediaType: parsed.mediaType, digest, size: bytes.length }, bytes };
  }

  /** As the index has it, else as the config says. */
  async #platformOf({ document, index, manifest }: ResolvedImage): Promise<Platform | undefined> {
    const parsed = index === undefined ? undefined : parseDocument(index.bytes, index.descriptor.mediaType);
    const listed = parsed?.kind === 'index' ? parsed.manifests : [];
    const named = listed.find(({ digest }) => digest === document.descriptor.digest)?.platform;
    if (named !== undefined) return named;
    const bytes = await this.#blobs.document(manifest.config.digest, MAX_CONFIG_BYTES);
    if (bytes === undefined) return undefined;
    try {
      const { os, architecture, variant } = parseImageConfig(bytes);
      if (architecture === '') return undefined;
      return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
    } catch (error) {
      // An artifact: its config is no image config.
      if (error instanceof QuayctlError) return undefined;
      throw error;
    }
  }

  async #touch(digest: Digest): Promise<void> {
    const blob = await this.#blobs.find(digest);
    if (blob !== undefined) await this.#blobs.use(blob);
  }
}

/** By digest: whatever the tag. By tag: not what was pulled by digest. */
export function answersTo({ reference, descriptor, index }: NamedImage, wanted: ImageReference): boolean {
  if (reference.registry !== wanted.registry || reference.repository !== wanted.repository) return false;
  if (wanted.digest !== undefined) return descriptor.digest === wanted.digest || index === wanted.digest;
  return reference.digest === undefined && reference.tag === wanted.tag;
}

function choose(
  images: readonly NamedImage[],
  reference: ImageReference,
  platform: Platform | undefined,
): NamedImage | undefined {
  const exact = images.find(({ descriptor }) => descriptor.digest === reference.digest);
  if (exact !== undefined || platform === undefined) return exact ?? images.at(-1);
  try {
    const chosen = choosePlatform(
      images.map(({ descriptor }) => descriptor),
      platform,
    );
    return images.find(({ descriptor }) => descriptor === chosen);
  } catch (error) {
    if (error instanceof QuayctlError) return undefined;
    throw error;
  }
}

function parseDocument(
  bytes: Uint8Array,
  mediaType: string | undefined,
): ImageManifest | ImageIndex | undefined {
  try {
    return parseManifest(bytes, mediaType);
  } catch (error) {
    if (error instanceof QuayctlError) return undefined;
    throw error;
  }
}
