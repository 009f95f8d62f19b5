import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { QuayctlError } from '../base/errors.ts';
import type { BlobFeed } from '../engines/engine.ts';
import { parseImageConfig } from '../image/config.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestOf, type Digest } from '../image/digest.ts';
import { blobPath, INDEX_FILE, parseLayoutIndex } from '../image/layout.ts';
import {
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  parseManifest,
  type RunnableImage,
} from '../image/manifest.ts';
import type { ImageReference } from '../image/reference.ts';
import { BLOCK, isZero, parseBlock } from '../tar/header.ts';
import { paddingOf } from '../tar/reader.ts';
import type { BlobReader } from '../store/blob-store.ts';
import type { Store } from '../store/store.ts';

/** Six files are in one of ours. */
const MAX_FILES = 64;

/** Where a file lies in an archive. */
interface Place {
  readonly start: number;
  readonly size: number;
}

/** A squashed image as engines take it: its documents, and the layer inside of the archive. */
export interface SquashedArchive {
  readonly image: RunnableImage;
  readonly feed: BlobFeed;
}

/**
 * Reads a verified archive of the store, which is an OCI image layout in a tar.
 * @throws QuayctlError `protocol` for another archive
 */
export async function openSquashed(
  { digest: file }: Descriptor,
  reference: ImageReference,
  store: Store,
): Promise<SquashedArchive> {
  const reader = await store.open(file);
  try {
    const places = await findFiles(reader);
    const image = await readImage(reader, places, reference);
    const stream = (digest: Digest): Promise<Readable> => {
      const { start, size } = placeOf(places, blobPath(digest));
      return Promise.resolve(createReadStream(store.blobFile(file), { start, end: start + size - 1 }));
    };
    return { image, feed: { ready: () => Promise.resolve(), stream } };
  } finally {
    await reader.close();
  }
}

/** By their headers alone: the layer between them is not read. */
async function findFiles(reader: BlobReader): Promise<ReadonlyMap<string, Place>> {
  const places = new Map<string, Place>();
  for (let at = 0; at + BLOCK <= reader.size;) {
    const bytes = await reader.read(at, BLOCK);
    if (isZero(bytes)) return places;
    const { name, size } = parseBlock(bytes);
    places.set(name, { start: at + BLOCK, size });
    if (places.size > MAX_FILES) throw foreign(`more than ${MAX_FILES} files`);
    at += BLOCK + size + paddingOf(size);
  }
  throw foreign('no end');
}

async function readImage(
  reader: BlobReader,
  places: ReadonlyMap<string, Place>,
  reference: ImageReference,
): Promise<RunnableImage> {
  const read = async (name: string, most: number): Promise<Uint8Array> => {
    const { start, size } = placeOf(places, name);
    if (size > most) throw foreign(`${name} of ${size} bytes`);
    return reader.read(start, size);
  };
  const [descriptor, ...others] = parseLayoutIndex(await read(INDEX_FILE, MAX_MANIFEST_BYTES)).manifests;
  if (descriptor === undefined || others.length > 0) throw foreign('not one image');
  const bytes = await read(blobPath(descriptor.digest), MAX_MANIFEST_BYTES);
  const manifest = parseManifest(bytes, descriptor.mediaType);
  if (manifest.kind === 'index' || digestOf(bytes) !== descriptor.digest) throw foreign('another manifest');
  const config = await read(blobPath(manifest.config.digest), MAX_CONFIG_BYTES);
  if (digestOf(config) !== manifest.config.digest) throw foreign('another config');
  for (const { digest, size } of manifest.layers) {
    if (placeOf(places, blobPath(digest)).size !== size) throw foreign('a layer of another size');
  }
  const document = { descriptor: { ...descriptor, size: bytes.length }, bytes };
  return { reference, document, manifest, config: parseImageConfig(config, manifest) };
}

function placeOf(places: ReadonlyMap<string, Place>, name: string): Place {
  const place = places.get(name);
  if (place === undefined) throw foreign(`no ${name}`);
  return place;
}

function foreign(why: string): QuayctlError {
  return new QuayctlError('protocol', `the squashed image is no archive that can be loaded: it has ${why}`);
}
