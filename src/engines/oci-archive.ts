import { digestOf, type Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/descriptor.ts';
import {
  blobPath,
  CONTAINERD_NAME,
  INDEX_FILE,
  LAYOUT_FILE,
  layoutFile,
  layoutIndex,
} from '../image/layout.ts';
import type { ManifestDocument, RunnableImage } from '../image/manifest.ts';
import { OCI_CONFIG, OCI_MANIFEST } from '../image/media-types.ts';
import type { ArchivePart } from './archive.ts';
import { prefixConfig } from './prefix-config.ts';

/** What an OCI archive brings besides layers, and under which name. */
export interface OciImage {
  /** `name:tag` or `name@digest`; without one the engine keeps it by its digest alone. */
  readonly name: string | undefined;
  /** Of the first of the documents, which is what the name points at. */
  readonly digest: Digest;
  /** The image's indexes first, outermost first, if they are to be recorded, then the manifest. */
  readonly documents: readonly ManifestDocument[];
  readonly config: { readonly digest: Digest; readonly bytes: Uint8Array };
  readonly layers: readonly Descriptor[];
}

/** @param nested whether the name shall point at the index through which the image was found, if there is one */
export function ociImage(image: RunnableImage, name: string | undefined, nested: boolean): OciImage {
  const { index, innerIndex, document, manifest, config } = image;
  const above = nested ? [index, innerIndex].filter((each) => each !== undefined) : [];
  const documents = [...above, document];
  return {
    name,
    digest: (documents[0] ?? document).descriptor.digest,
    documents,
    config: { digest: manifest.config.digest, bytes: config.bytes },
    layers: manifest.layers,
  };
}

/** An image of the first `count` layers, without a name. @param label TEMPORARY_LABEL's value */
export function ociPrefix(image: RunnableImage, count: number, label: string): OciImage {
  const config = prefixConfig(image, count, label);
  const layers = image.manifest.layers.slice(0, count);
  const descriptor = { mediaType: OCI_CONFIG, digest: config.id, size: config.bytes.length };
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: descriptor, layers };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const document = {
    descriptor: { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.length },
    bytes,
  };
  const { digest } = document.descriptor;
  return {
    name: undefined,
    digest,
    documents: [document],
    config: { digest: config.id, bytes: config.bytes },
    layers,
  };
}

/**
 * Everything but the layers. `manifest.json` besides the layout is for engines that know no OCI layout: each engine
 * takes the form that it prefers from one archive. The documents may follow the layers; then an archive that is cut
 * off between two files is no image.
 */
export function* ociDocuments(image: OciImage): Generator<ArchivePart> {
  yield* ociEntry(image);
  yield* ociBlobs(image);
}

/** Manifests and config, which alone are no image yet. */
export function* ociBlobs({ documents, config }: OciImage): Generator<ArchivePart> {
  for (const document of documents) {
    yield { name: blobPath(document.descriptor.digest), bytes: document.bytes };
  }
  yield { name: blobPath(config.digest), bytes: config.bytes };
}

/** The documents that make an archive with these blobs an image. */
export function* ociEntry({ name, documents, config, layers }: OciImage): Generator<ArchivePart> {
  const [target] = documents;
  if (target === undefined) return;
  const annotations = name === undefined ? {} : { annotations: { [CONTAINERD_NAME]: name } };
  const { mediaType, digest, size } = target.descriptor;
  const RepoTags = name === undefined || name.includes('@') ? null : [name];
  const Layers = layers.map((layer) => blobPath(layer.digest));
  yield { name: LAYOUT_FILE, bytes: layoutFile() };
  yield { name: INDEX_FILE, bytes: layoutIndex([{ mediaType, digest, size, ...annotations }]) };
  const legacy = [{ Config: blobPath(config.digest), RepoTags, Layers }];
  yield { name: 'manifest.json', bytes: Buffer.from(JSON.stringify(legacy)) };
}
