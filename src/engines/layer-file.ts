import { once } from 'node:events';
import { Readable } from 'node:stream';
import { orAborted } from '../base/abort.ts';
import { isQuayctlError, QuayctlError, type ErrorCode } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import { plainBytes } from '../layers/decompress.ts';
import { isZstd } from '../layers/zstd-frames.ts';
import type { BlobFeed } from './engine.ts';
import type { ArchivePart } from './archive.ts';

/** Enough of a layer to tell zstd. */
const MAGIC_BYTES = 4;

/**
 * A layer's file in an archive. It is sent while it arrives where the feed can, else once it is ready: an engine
 * compares it with a digest before it uses it.
 *
 * gzip is sent as it is: unpacking it here first measured no faster than the daemon's own. zstd for an old daemon is
 * unpacked twice, since nothing else tells the length that the tar header needs, and a temporary file would cost the
 * disk of both sides. The bytes of a layer tell what it is; media types have been wrong, and daemons do not look at
 * them either.
 * @param readsZstd whether the engine takes layers in zstd
 */
export async function layerFile(
  name: string,
  layer: Descriptor,
  feed: BlobFeed,
  readsZstd: boolean,
  signal: AbortSignal,
): Promise<ArchivePart> {
  if (readsZstd) return { name, size: layer.size, open: () => arrivingBlob(layer, feed, signal) };
  const first = await arrivingBlob(layer, feed, signal);
  // Not read twice where nothing has to be unpacked.
  if (!(await beginsLikeZstd(first))) return { name, size: layer.size, open: () => Promise.resolve(first) };
  let size = 0;
  for await (const chunk of unpacked(layer, first)) {
    signal.throwIfAborted();
    size += (chunk as Uint8Array).length;
  }
  const open = async (): Promise<Readable> => {
    // Its last byte comes when the digest is checked, a moment before the store has it.
    await orAborted(feed.ready(layer.digest), signal);
    return unpacked(layer, await committedBlob(layer, feed));
  };
  return { name, size, open };
}

/** The same for a request that needs no length. */
export async function arrivingStream(
  layer: Descriptor,
  feed: BlobFeed,
  readsZstd: boolean,
  signal: AbortSignal,
): Promise<Readable> {
  const blob = await arrivingBlob(layer, feed, signal);
  return readsZstd || !(await beginsLikeZstd(blob)) ? blob : unpacked(layer, blob);
}

function unpacked({ digest }: Descriptor, blob: Readable): Readable {
  const plain = Readable.from(plainBytes(blob), { objectMode: false });
  return told(plain, 'verification', `layer ${shortDigest(digest)} cannot be unpacked`);
}

/** Nothing is taken from the stream. */
async function beginsLikeZstd(blob: Readable): Promise<boolean> {
  for (;;) {
    // Fewer only at the end of the blob.
    const head = blob.read(MAGIC_BYTES) as Buffer | null;
    if (head !== null) {
      blob.unshift(head);
      return isZstd(head);
    }
    if (blob.readableEnded) return false;
    const over = new AbortController();
    const waits = ['readable', 'end'].map((event) => once(blob, event, { signal: over.signal }));
    for (const wait of waits) wait.catch(() => undefined);
    try {
      await Promise.race(waits);
    } finally {
      over.abort();
    }
  }
}

async function arrivingBlob(layer: Descriptor, feed: BlobFeed, signal: AbortSignal): Promise<Readable> {
  const arriving = await feed.follow?.(layer.digest, signal);
  if (arriving !== undefined) {
    return told(arriving, 'store', `layer ${shortDigest(layer.digest)} broke off while it arrived`);
  }
  await orAborted(feed.ready(layer.digest), signal);
  return committedBlob(layer, feed);
}

/** A layer that the engine had at first was not downloaded; when the engine has removed it meanwhile, it is missing. */
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
      const isTold = isQuayctlError(error) && error.code !== code;
      if (isTold) throw error;
      const reason = isQuayctlError(error) ? `${message}: ${error.message}` : message;
      throw new QuayctlError(code, reason, { cause: error });
    }
  };
  // A generator that is never read does not begin, and would leave the file open.
  return Readable.from(chunks(), { objectMode: false }).once('close', () => source.destroy());
}
