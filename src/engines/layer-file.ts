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
 * A layer's file in an archive. It is sent while it arrives where the feed can, else once it is ready: an engine
 * compares it with a digest before it uses it.
 *
 * gzip is sent as it is: unpacking it here first measured no faster than the daemon's own. zstd for an old daemon is
 * unpacked twice, since nothing else tells the length that the tar header needs, and a temporary file would cost the
 * disk of both sides.
 * @param readsZstd whether the engine takes layers in zstd
 */
export async function layerFile(
  name: string,
  layer: Descriptor,
  feed: BlobFeed,
  readsZstd: boolean,
  signal: AbortSignal,
): Promise<ArchivePart> {
  const open = (): Promise<Readable> => arrivingStream(layer, feed, readsZstd, signal);
  if (!isUnpackedHere(layer, readsZstd)) return { name, size: layer.size, open };
  let size = 0;
  for await (const chunk of await open()) {
    signal.throwIfAborted();
    size += (chunk as Uint8Array).length;
  }
  return { name, size, open };
}

/** The bytes of such a file, for requests that need no length. */
export async function arrivingStream(
  layer: Descriptor,
  feed: BlobFeed,
  readsZstd: boolean,
  signal: AbortSignal,
): Promise<Readable> {
  const blob = await arrivingBlob(layer, feed, signal);
  if (!isUnpackedHere(layer, readsZstd)) return blob;
  const plain = pipeline(blob, createZstdDecompress(), () => undefined);
  return told(
    plain,
    'verification',
    `layer ${shortDigest(layer.digest)} is not zstd, although its type says so`,
  );
}

function isUnpackedHere(layer: Descriptor, readsZstd: boolean): boolean {
  return !readsZstd && layerCompression(layer.mediaType) === 'zstd';
}

async function arrivingBlob(layer: Descriptor, feed: BlobFeed, signal: AbortSignal): Promise<Readable> {
  const arriving = await feed.follow?.(layer.digest, signal);
  if (arriving !== undefined) {
    return told(arriving, 'store', `layer ${shortDigest(layer.digest)} broke off while it arrived`);
  }
  await orAborted(feed.ready(layer.digest), signal);
  return committedBlob(layer, feed);
}

/** A layer that was in the engine at first has not been downloaded; when it is gone there, nobody has it. */
async function committedBlob(layer: Descriptor, feed: BlobFeed): Promise<Readable> {
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
