import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import { writeAtomically, type FileContent } from '../base/atomic-file.ts';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { digestHex } from '../image/digest.ts';
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
import { isAbsent, onDisk, readBounded, syncDirectory } from '../store/disk.ts';
import {
  formatEntries,
  layoutEntry,
  parseEntries,
  type LayoutEntries,
  type LayoutEntry,
} from '../store/index-file.ts';
import type { Store } from '../store/store.ts';

/** What an export needs of the store. */
type Source = Pick<Store, 'stat' | 'stream' | 'verify'>;

const MAX_LAYOUT_FILE_BYTES = 4096;
/** As image/layout.ts has it: thousands of images at about 300 bytes each. */
const MAX_INDEX_BYTES = 16 * 1024 * 1024;

/**
 * Adds an image to the OCI layout at `path`, which is made if need be; an image of the same name is replaced. The
 * blobs are copies: a link would hand the store's private modes on, and every later change of them back.
 * @throws QuayctlError `usage` where something else is at `path`; `not-found`, `verification`, `disk-full`, `store`;
 *   the signal's reason
 */
export async function exportLayout(
  source: Source,
  image: ResolvedImage,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  await onDisk(`cannot write the layout ${path}`, async () => {
    await checkTarget(path);
    await mkdir(join(path, 'blobs', 'sha256'), { recursive: true });
    await replaceFile(join(path, LAYOUT_FILE), [layoutFile()], signal);
    for (const blob of await blobsOf(source, image)) {
      const to = join(path, blobPath(blob.digest));
      if (!(await isThere(to, blob))) await replaceFile(to, content(source, blob), signal);
    }
    const { entry, carrier } = entryOf(image);
    for (const { descriptor, bytes } of [image.document, ...(carrier === undefined ? [] : [carrier])]) {
      await replaceFile(join(path, blobPath(descriptor.digest)), [bytes], signal);
    }
    // The index comes last: until then the layout holds what it held.
    const name = formatReference(image.reference);
    const others = (await checkTarget(path)).filter((one) => !isNamed(one, name));
    await replaceFile(join(path, INDEX_FILE), [formatEntries([...others, entry])], signal);
  });
}

/** Told before anything is downloaded for it. @throws QuayctlError `usage` where no layout can be written or added to */
export async function checkLayoutTarget(path: string): Promise<void> {
  await onDisk(`cannot read the layout ${path}`, () => checkTarget(path));
}

/**
 * Writes the image as an OCI archive (a layout in a tar), in place of what is at `path`, at once when it is whole.
 * @throws QuayctlError `not-found`, `verification`, `disk-full`, `store`; the signal's reason
 */
export async function exportArchive(
  source: Source,
  image: ResolvedImage,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  await onDisk(`cannot write the archive ${path}`, async () => {
    const blobs = await blobsOf(source, image);
    await mkdir(dirname(path), { recursive: true });
    const archive = pack();
    // Where nobody reads it yet, its end by an error is heard of nowhere else; both sides below tell it.
    archive.on('error', () => undefined);
    const [filled, written] = await Promise.allSettled([
      fill(archive, source, image, blobs).catch((error: Error) => {
        archive.destroy(error);
        throw error;
      }),
      replaceFile(path, archive as AsyncIterable<Uint8Array>, signal).catch((error: Error) => {
        archive.destroy(error);
        throw error;
      }),
    ]);
    // One that fails ends the other; a blob's own error says more than that its archive was cut off.
    if (filled.status === 'rejected' && isQuayctlError(filled.reason)) throw filled.reason;
    for (const end of [written, filled]) if (end.status === 'rejected') throw end.reason;
  });
}

async function fill(
  archive: Pack,
  source: Source,
  { reference, document }: ResolvedImage,
  blobs: readonly Descriptor[],
): Promise<void> {
  const { entry: indexEntry, carrier } = entryOf({ reference, document });
  archive.entry({ name: LAYOUT_FILE }, Buffer.from(layoutFile()));
  archive.entry({ name: INDEX_FILE }, Buffer.from(formatEntries([indexEntry])));
  for (const { descriptor, bytes } of [document, ...(carrier === undefined ? [] : [carrier])]) {
    archive.entry({ name: blobPath(descriptor.digest) }, Buffer.from(bytes));
  }
  for (const blob of blobs) {
    const entry = archive.entry({ name: blobPath(blob.digest), size: blob.size });
    await pipeline(content(source, blob), entry);
  }
  archive.finalize();
}

/** Config and layers, each once. @throws QuayctlError `not-found` where one is not in the store */
async function blobsOf(source: Source, { manifest, document }: ResolvedImage): Promise<Descriptor[]> {
  const blobs = new Map([manifest.config, ...manifest.layers].map((blob) => [blob.digest, blob]));
  blobs.delete(document.descriptor.digest);
  for (const { digest, size } of blobs.values()) {
    if ((await source.stat(digest)) === size) continue;
    throw new QuayctlError('not-found', `blob ${digest} is not in the store`);
  }
  return [...blobs.values()];
}

/** Checks the digest of a blob that leaves the store. A damaged blob is removed, to be fetched again. */
async function* content(source: Source, { digest }: Descriptor): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of (await source.stream(digest)) as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') === digestHex(digest)) return;
  await source.verify(digest);
  throw new QuayctlError('verification', `blob ${digest} was damaged in the store`, {
    hint: 'pull the image again',
  });
}

/** The other annotation is for containerd, which loads archives under that name. */
function entryOf({ reference, document }: Pick<ResolvedImage, 'reference' | 'document'>): LayoutEntry {
  const name = formatReference(reference);
  return layoutEntry(document, undefined, { [REF_NAME]: name, [CONTAINERD_NAME]: name });
}

function isNamed({ annotations }: JsonObject, name: string): boolean {
  if (typeof annotations !== 'object' || annotations === null) return false;
  return Object.entries(annotations).some(([key, value]) => key === REF_NAME && value === name);
}

/** The entries of the layout that is there, or none. @throws QuayctlError `usage` for what is no layout */
async function checkTarget(path: string): Promise<LayoutEntries> {
  const names = await readdir(path).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  if (names.length === 0) return [];
  try {
    const layout = await readBounded(join(path, LAYOUT_FILE), MAX_LAYOUT_FILE_BYTES);
    if (layout === undefined) throw new QuayctlError('protocol', `it has no ${LAYOUT_FILE}`);
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

/** Whether the layout has the blob, whole. */
async function isThere(path: string, { digest, size }: Descriptor): Promise<boolean> {
  if ((await stat(path).catch(() => undefined))?.size !== size) return false;
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex') === digestHex(digest);
}

/** At once, when all of it is on the disk; a draft that fails is removed. */
async function replaceFile(path: string, bytes: FileContent, signal: AbortSignal): Promise<void> {
  await writeAtomically(path, bytes, { durable: true, signal });
  await syncDirectory(dirname(path));
}
