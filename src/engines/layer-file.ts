import { pipeline, Readable } from 'node:stream';
import { createZstdDecompress } from 'node:zlib';
import { orAborted } from '../base/abort.ts';
import { isQuayctlError, QuayctlError, type ErrorCode } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import { layerCompression } from '../image/media-types.ts';
import type { BlobFeed } from './engine.ts';
import type { ArchivePart } from './archive.ts';

/**
 * A layer as this daemon can read it. gzip is sent as it is: unpacking it here first measured no faster than the
 * daemon's own, and the length of what is in it would have to be found by unpacking it twice. zstd for an old
 * daemon is unpacked twice, which is cheap enough: nothing else tells the length that the tar header needs, and a
 * temporary file would cost the disk of both sides.
 */
export async function layerFile(
  name: string,
  layer: Descriptor,
  feed: BlobFeed,
  readsZstd: boolean,
  signal: AbortSignal,
): Promise<ArchivePart> {
  if (readsZstd || layerCompression(layer.mediaType) !== 'zstd') {
    return { name, size: layer.size, open: () => blobOf(layer, feed) };
  }
  const open = (): Promise<Readable> => layerStream(layer, feed, readsZstd);
  let size = 0;
  for await (const chunk of await open()) {
    signal.throwIfAborted();
    size += (chunk as Uint8Array).length;
  }
  return { name, size, open };
}

/**
 * A layer for an engine that reads gzip and zstd and checks what it is sent. It is sent while it arrives, where the
 * feed can; else its file in the archive waits until the blob is ready.
 */
export function arrivingLayer(
  name: string,
  layer: Descriptor,
  feed: BlobFeed,
  signal: AbortSignal,
): ArchivePart {
  const open = async (): Promise<Readable> => {
    const arriving = await feed.follow?.(layer.digest, signal);
    if (arriving !== undefined) return told(arriving, 'store', `layer ${shortDigest(layer.digest)} broke off`);
    await orAborted(feed.ready(layer.digest), signal);
    return blobOf(layer, feed);
  };
  return { name, size: layer.size, open };
}

/** The same for a body of which the length need not be known. */
export async function layerStream(layer: Descriptor, feed: BlobFeed, readsZstd: boolean): Promise<Readable> {
  const blob = await blobOf(layer, feed);
  if (readsZstd || layerCompression(layer.mediaType) !== 'zstd') return blob;
  const plain = pipeline(blob, createZstdDecompress(), () => undefined);
  return told(plain, 'verification', `layer ${shortDigest(layer.digest)} is not what its type says: zstd`);
}

/** A layer that was in the engine at first has not been downloaded; when it is gone there, nobody has it. */
async function blobOf(layer: Descriptor, feed: BlobFeed): Promise<Readable> {
  try {
    const blob = await feed.stream(layer.digest);
    return told(blob, 'store', `layer ${shortDigest(layer.digest)} cannot be read`);
  } catch (error) {
    if (!isQuayctlError(error, 'not-found')) throw error;
    const what = `layer ${shortDigest(layer.digest)} was removed from the engine while the image was pulled`;
    throw new QuayctlError('engine', what, { cause: error, hint: 'pull it again' });
  }
}

/** Errors of our own side must not look like those of the connection to the daemon. */
function told(source: Readable, code: ErrorCode, message: string): Readable {
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of source) yield chunk as Uint8Array;
    } catch (error) {
      throw isQuayctlError(error) ? error : new QuayctlError(code, message, { cause: error });
    }
  };
  // Where nobody begins to read, the generator does not begin either, and would leave the file open.
  return Readable.from(chunks(), { objectMode: false }).once('close', () => source.destroy());
}
