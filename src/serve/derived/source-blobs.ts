import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { writeAtomically } from '../../base/atomic-file.ts';
import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { parseImageConfig } from '../../image/config.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { digestFromHex, digestHex, shortDigest, type Digest } from '../../image/digest.ts';
import { unrunnableReason, type ImageConfig, type ImageManifest } from '../../image/manifest.ts';
import { isForeignLayer } from '../../image/media-types.ts';
import type { LayerSource } from '../../layers/merge.ts';
import { readUpstreamBlob } from '../upstream/upstream-blob.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { SourceImage } from './recipe.ts';

/** One image of one repository. */
export interface ImageName {
  readonly repository: string;
  /** The manifest's digest. */
  readonly digest: Digest;
  readonly manifest: ImageManifest;
}

/** Callbacks while an image's blobs are fetched. */
export interface SourceListener {
  readonly check?: ((config: ImageConfig) => void) | undefined;
  readonly onBytes: (bytes: number) => void;
}

/** Reads a blob as whoever may. @throws QuayctlError */
export type OpenBlob = (repository: string, blob: Descriptor) => AsyncIterable<Uint8Array>;

/** As the service itself where that may read the blob, else with what the caller showed, which is kept nowhere. */
export function blobOpener(
  { own, upstream }: { readonly own: Upstream; readonly upstream: Upstream },
  authorization: string | undefined,
  signal: AbortSignal,
): OpenBlob {
  return async function* (repository, { digest, size }) {
    const request = { repository, digest, size, start: 0, end: size };
    let begun = false;
    try {
      for await (const chunk of readUpstreamBlob(own, request, signal)) {
        begun = true;
        yield chunk;
      }
    } catch (error) {
      const isRefused = isQuayctlError(error, 'unauthorized', 'not-found', 'verification');
      if (begun || authorization === undefined || !isRefused) throw error;
      yield* readUpstreamBlob(upstream, { ...request, authorization }, signal);
    }
  };
}

/**
 * The blobs of an image into a directory, each verified; what is there from an earlier time is not read again.
 * @param check of the recipe, called with the config before any layer is fetched
 * @param onBytes told what arrives, and what the layers are read of afterwards
 * @throws QuayctlError `verification`, `unsupported` for what is no image, what `open` and `check` throw
 */
export async function fetchSource(
  { repository, digest, manifest }: ImageName,
  directory: string,
  open: OpenBlob,
  { check, onBytes }: SourceListener,
  signal: AbortSignal,
): Promise<SourceImage> {
  const reason = unrunnableReason(manifest);
  if (reason !== undefined) throw new QuayctlError('unsupported', `no container image: ${reason}`);
  const fetch = async (blob: Descriptor): Promise<void> => {
    if (await isThere(blob, directory)) onBytes(blob.size);
    else await fetchOne(blob, directory, open(repository, blob), onBytes, signal);
  };
  await fetch(manifest.config);
  const bytes = await readFile(join(directory, digestHex(manifest.config.digest)));
  const config = parseImageConfig(bytes, manifest);
  check?.(config);
  for (const layer of manifest.layers) {
    await fetch(layer).catch((error: unknown) => {
      throw isQuayctlError(error, 'not-found') && isForeignLayer(layer.mediaType)
        ? elsewhere(layer, error)
        : error;
    });
  }
  const layers = manifest.layers.map((layer, at) =>
    layerSource(layer, config.diffIds[at] as Digest, directory, onBytes),
  );
  return { digest, manifest, config, layers };
}

/** A manifest must not be able to lead the service to any URL that its author likes. */
function elsewhere({ digest }: Descriptor, cause: unknown): QuayctlError {
  const what = `layer ${shortDigest(digest)} is a foreign one, which the registry does not have`;
  return new QuayctlError('unsupported', `${what}; nothing is made of what lies elsewhere`, { cause });
}

/** A file has its name only since it was verified. */
async function isThere({ digest, size }: Descriptor, directory: string): Promise<boolean> {
  const found = await stat(join(directory, digestHex(digest))).catch(() => undefined);
  return found?.size === size;
}

async function fetchOne(
  { digest, size }: Descriptor,
  directory: string,
  body: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256');
  let length = 0;
  const checked = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      length += chunk.length;
      if (length > size) break;
      hash.update(chunk);
      onBytes(chunk.length);
      yield chunk;
    }
    if (length !== size || digestFromHex(hash.digest('hex')) !== digest) {
      throw new QuayctlError('verification', `upstream: the content of blob ${digest} has another digest`);
    }
  };
  await writeAtomically(join(directory, digestHex(digest)), checked(), { mode: 0o600, signal });
}

function layerSource(
  { digest }: Descriptor,
  diffId: Digest,
  directory: string,
  onBytes: (bytes: number) => void,
): LayerSource {
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of createReadStream(join(directory, digestHex(digest)))) {
      onBytes((chunk as Uint8Array).length);
      yield chunk as Uint8Array;
    }
  };
  const open = (): Promise<Readable> => Promise.resolve(Readable.from(counted(), { objectMode: false }));
  return { name: `layer ${shortDigest(digest)}`, diffId, open };
}
