import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { createRateLimiter } from '../../base/rate-limiter.ts';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import type { BlobSource } from '../../blobs/blob-source.ts';
import { fillGaps } from '../../blobs/fill-gaps.ts';
import { parseImageConfig } from '../../image/config.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import { unrunnableReason, type ImageManifest } from '../../image/manifest.ts';
import type { LayerSource } from '../../layers/merge.ts';
import type { BlobStore } from '../../store/blob-store.ts';
import type { SourceImage } from './recipe.ts';

const UNLIMITED = createRateLimiter(0);

/** One image of one repository. */
export interface ImageName {
  readonly repository: string;
  /** Of the manifest. */
  readonly digest: Digest;
  readonly manifest: ImageManifest;
}

/**
 * The blobs of an image into a store, each verified; what is there from an earlier time is not read again.
 * @param onBytes told what arrives, and what the layers are read of afterwards
 * @throws QuayctlError `verification`, `unsupported` for what is no image, what the source and the store throw
 */
export async function fetchSource(
  { digest, manifest }: ImageName,
  store: BlobStore,
  source: BlobSource,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<SourceImage> {
  const reason = unrunnableReason(manifest);
  if (reason !== undefined) throw new QuayctlError('unsupported', `no container image: ${reason}`);
  for (const blob of [manifest.config, ...manifest.layers])
    await fetchOne(blob, store, source, onBytes, signal);
  const bytes = await buffer(await store.stream(manifest.config.digest));
  const config = parseImageConfig(bytes, manifest);
  const layers = manifest.layers.map((layer, at) =>
    layerSource(layer, config.diffIds[at] as Digest, store, onBytes),
  );
  return { digest, manifest, config, layers };
}

async function fetchOne(
  blob: Descriptor,
  store: BlobStore,
  source: BlobSource,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const partial = await store.begin(blob, signal);
  if (partial === 'present') return onBytes(blob.size);
  try {
    onBytes(partial.written);
    await fillGaps(partial, source, UNLIMITED, onBytes, signal);
    await partial.commit();
  } catch (error) {
    // What is wrong must not be taken up again.
    if (!isQuayctlError(error, 'verification')) throw error;
    await partial.discard();
    const what = `upstream: the content of blob ${blob.digest} has another digest`;
    throw new QuayctlError('verification', what, { cause: error });
  } finally {
    await partial.close();
  }
}

function layerSource(
  { digest }: Descriptor,
  diffId: Digest,
  store: BlobStore,
  onBytes: (bytes: number) => void,
): LayerSource {
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of (await store.stream(digest)) as AsyncIterable<Uint8Array>) {
      onBytes(chunk.length);
      yield chunk;
    }
  };
  const open = (): Promise<Readable> => Promise.resolve(Readable.from(counted(), { objectMode: false }));
  return { name: `layer ${shortDigest(digest)}`, diffId, open };
}
