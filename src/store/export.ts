import { randomUUID } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { copyFile, link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import { QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { JsonObject } from '../image/json.ts';
import {
  blobPath,
  checkLayoutFile,
  CONTAINERD_NAME,
  INDEX_FILE,
  LAYOUT_FILE,
  layoutFile,
  layoutIndex,
  REF_NAME,
} from '../image/layout.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import { formatReference } from '../image/reference.ts';
import type { BlobStore } from './blob-store.ts';
import { isAbsent, onDisk, readBounded } from './disk.ts';
import { formatEntries, parseEntries, type LayoutEntries } from './index-file.ts';

/** What an export reads of the store. */
interface Source extends Pick<BlobStore, 'stat' | 'stream'> {
  /** Where a committed blob lies, to be linked or copied, never written to. */
  blobFile(digest: Digest): string;
}

const MAX_LAYOUT_FILE_BYTES = 4096;
/** As image/layout.ts has it: thousands of images at about 300 bytes each. */
const MAX_INDEX_BYTES = 16 * 1024 * 1024;

/**
 * Adds an image to the OCI layout at `path`, which is made if need be; an image of the same name is replaced. The
 * blobs are hard links to the store's where that is possible.
 * @throws QuayctlError `usage` where something else is at `path`; `not-found`, `disk-full`, `store`
 */
export async function exportLayout(
  source: Source,
  image: ResolvedImage,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  await onDisk(`cannot write the layout ${path}`, async () => {
    const entries = await openLayout(path);
    await mkdir(join(path, 'blobs', 'sha256'), { recursive: true });
    for (const { digest, size } of await blobsOf(source, image)) {
      signal.throwIfAborted();
      await placeBlob(source.blobFile(digest), join(path, blobPath(digest)), size);
    }
    const { descriptor, bytes } = image.document;
    await replace(join(path, blobPath(descriptor.digest)), bytes);
    const name = formatReference(image.reference);
    const others = entries.filter((entry) => !isNamed(entry, name));
    // The index comes last: until then the layout holds what it held.
    await replace(join(path, INDEX_FILE), formatEntries([...others, entryOf(image)]));
    await replace(join(path, LAYOUT_FILE), layoutFile());
  });
}

/**
 * Writes the image as an OCI archive (a layout in a tar), in place of what is at `path`, at once when it is whole.
 * @throws QuayctlError `not-found`, `disk-full`, `store`; the signal's reason
 */
export async function exportArchive(
  source: Source,
  image: ResolvedImage,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const draft = join(dirname(path), `.${basename(path)}.${randomUUID()}`);
  const archive = pack();
  try {
    await onDisk(`cannot write the archive ${path}`, async () => {
      await mkdir(dirname(path), { recursive: true });
      const writing = pipeline(archive, createWriteStream(draft, { flags: 'wx', flush: true }), { signal });
      // Whichever of the two fails first is the reason; the other only ends because of it.
      await Promise.all([writing, fill(archive, source, image)]);
      await rename(draft, path);
    });
  } catch (error) {
    await rm(draft, { force: true });
    signal.throwIfAborted();
    throw error;
  }
}

async function fill(archive: Pack, source: Source, image: ResolvedImage): Promise<void> {
  try {
    const { descriptor, bytes } = image.document;
    archive.entry({ name: LAYOUT_FILE }, Buffer.from(layoutFile()));
    archive.entry({ name: INDEX_FILE }, Buffer.from(formatEntries([entryOf(image)])));
    archive.entry({ name: blobPath(descriptor.digest) }, Buffer.from(bytes));
    for (const { digest, size } of await blobsOf(source, image)) {
      if (digest === descriptor.digest) continue;
      const entry = archive.entry({ name: blobPath(digest), size });
      await pipeline(await source.stream(digest), entry);
    }
    archive.finalize();
  } catch (error) {
    archive.destroy(error as Error);
    throw error;
  }
}

/** Config and layers, each once. @throws QuayctlError `not-found` where one is not in the store */
async function blobsOf(source: Source, { manifest }: ResolvedImage): Promise<Descriptor[]> {
  const blobs = new Map([manifest.config, ...manifest.layers].map((blob) => [blob.digest, blob]));
  for (const { digest, size } of blobs.values()) {
    if ((await source.stat(digest)) === size) continue;
    throw new QuayctlError('not-found', `blob ${digest} is not in the store`);
  }
  return [...blobs.values()];
}

function entryOf({ reference, document }: ResolvedImage): JsonObject {
  const { mediaType, digest, size } = document.descriptor;
  const name = formatReference(reference);
  const annotations = { [REF_NAME]: name, [CONTAINERD_NAME]: name };
  return { mediaType, digest, size, annotations };
}

function isNamed({ annotations }: JsonObject, name: string): boolean {
  return (
    typeof annotations === 'object' &&
    annotations !== null &&
    Object.entries(annotations).some(([key, value]) => key === REF_NAME && value === name)
  );
}

/** The entries of the layout that is there, or none. */
async function openLayout(path: string): Promise<LayoutEntries> {
  const names = await readdir(path).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  if (names.length === 0) return [];
  try {
    const layout = await readBounded(join(path, LAYOUT_FILE), MAX_LAYOUT_FILE_BYTES);
    if (layout === undefined) throw new QuayctlError('usage', `it has no ${LAYOUT_FILE}`);
    checkLayoutFile(layout);
    return parseEntries((await readBounded(join(path, INDEX_FILE), MAX_INDEX_BYTES)) ?? layoutIndex([]));
  } catch (cause) {
    if (!(cause instanceof QuayctlError)) throw cause;
    throw new QuayctlError('usage', `${path} is not an OCI layout that can be added to`, {
      cause,
      hint: 'choose an empty directory, an OCI layout, or a file whose name ends in .tar',
    });
  }
}

/** A link where both are on one file system, else a copy (shared by the file system where it can). */
async function placeBlob(from: string, to: string, size: number): Promise<void> {
  if ((await stat(to).catch(() => undefined))?.size === size) return;
  const draft = `${to}.${randomUUID()}`;
  try {
    await link(from, draft).catch(() =>
      copyFile(from, draft, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL),
    );
    await rename(draft, to);
  } finally {
    await rm(draft, { force: true });
  }
}

async function replace(path: string, bytes: Uint8Array): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    const file = await open(draft, 'wx');
    try {
      await file.writeFile(bytes);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}
