import { Readable } from 'node:stream';
import { QuayctlError } from '../base/errors.ts';
import { storeSource } from '../blobs/blob-source.ts';
import type { BlobFeed } from '../engines/engine.ts';
import { parseImageConfig } from '../image/config.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestOf } from '../image/digest.ts';
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
import type { Store } from '../store/store.ts';

/** Six files are in one of ours. */
const MAX_FILES = 64;

/** Where a file lies in an archive. */
interface Place {
  readonly start: number;
  readonly size: number;
}

/** Reads bytes `start` to `end` (exclusive) of an archive. */
type Read = (start: number, end: number) => Promise<Uint8Array>;

/** What is in a squashed image's archive: its documents, and where its layer lies. */
export interface SquashedArchive {
  readonly file: Descriptor;
  readonly image: RunnableImage;
  readonly places: ReadonlyMap<string, Place>;
}

/**
 * Reads the documents of an archive, which is an OCI image layout in a tar; the layer between them is not read, so the
 * archive may still be arriving.
 * @param read gives verified bytes
 * @throws QuayctlError `protocol` for another archive
 */
export async function readSquashed(
  file: Descriptor,
  reference: ImageReference,
  read: Read,
): Promise<SquashedArchive> {
  const places = await findFiles(file, read);
  return { file, places, image: await readImage(read, places, reference) };
}

/** The layer out of an archive that is in the store. */
export function squashedFeed(
  { file, places }: SquashedArchive,
  store: Pick<Store, 'open'>,
  signal: AbortSignal,
): BlobFeed {
  return {
    ready: () => Promise.resolve(),
    stream: async (digest) => {
      const { start, size } = placeOf(places, blobPath(digest));
      return Readable.from(storeSource(store).open(file, start, start + size, signal), { objectMode: false });
    },
  };
}

/** By their headers alone. */
async function findFiles({ size: end }: Descriptor, read: Read): Promise<ReadonlyMap<string, Place>> {
  const places = new Map<string, Place>();
  for (let at = 0; at + BLOCK <= end;) {
    const bytes = await read(at, at + BLOCK);
    if (isZero(bytes)) return places;
    const { name, size } = parseBlock(bytes);
    places.set(name, { start: at + BLOCK, size });
    if (places.size > MAX_FILES) throw foreign(`more than ${MAX_FILES} files`);
    at += BLOCK + size + paddingOf(size);
  }
  throw foreign('no end');
}

async function readImage(
  readBytes: Read,
  places: ReadonlyMap<string, Place>,
  reference: ImageReference,
): Promise<RunnableImage> {
  const read = async (name: string, most: number): Promise<Uint8Array> => {
    const { start, size } = placeOf(places, name);
    if (size > most) throw foreign(`${name} of ${size} bytes`);
    return readBytes(start, start + size);
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
  return new QuayctlError(
    'protocol',
    `the squashed image is not an archive that can be loaded: it has ${why}`,
  );
}
