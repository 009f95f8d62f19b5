import { attestationsListed } from '../image/attestations.ts';
import { digestOf } from '../image/digest.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { parseManifest, type ManifestDocument, type ResolvedImage } from '../image/manifest.ts';
import type { Repository } from '../registry/repository.ts';

/** buildkit writes one for each platform, with a statement of its origin and a list of its software in it. */
const MAX_MANIFESTS = 4;
const MAX_BLOBS = 16;
/** Of one manifest. Lists of the software in large images have some MiB; all is held in memory until the engine takes it. */
const MAX_BYTES = 8 * 1024 * 1024;

/**
 * The attestations of an image, as `docker pull` keeps them: manifests in the image's index that refer to its own
 * manifest, with config and layers (buildkit's attestation storage). They come from the registry
 * alone, since they are small and each is of one image only. What is too large or cannot be had is left out.
 * @returns documents and blobs, all checked against their digests
 * @throws the signal's reason
 */
export async function fetchAttestations(
  image: ResolvedImage,
  repository: Pick<Repository, 'manifest' | 'blob'>,
  signal: AbortSignal,
): Promise<readonly ManifestDocument[]> {
  const wanted = attestationsListed(image).slice(0, MAX_MANIFESTS);
  const fetched = await Promise.all(
    wanted.map(async ({ digest }) => {
      try {
        return await fetchOne(await repository.manifest(digest, signal), repository, signal);
      } catch {
        signal.throwIfAborted();
        return [];
      }
    }),
  );
  return fetched.flat();
}

async function fetchOne(
  found: ManifestDocument,
  repository: Pick<Repository, 'blob'>,
  signal: AbortSignal,
): Promise<ManifestDocument[]> {
  const manifest = parseManifest(found.bytes, found.descriptor.mediaType);
  if (manifest.kind !== 'manifest') return [];
  const blobs = [manifest.config, ...manifest.layers];
  const total = blobs.reduce((sum, { size }) => sum + size, 0);
  if (blobs.length > MAX_BLOBS || total > MAX_BYTES) return [];
  const documents = await Promise.all(blobs.map((blob) => fetchBlob(blob, repository, signal)));
  return [found, ...documents];
}

async function fetchBlob(
  descriptor: Descriptor,
  repository: Pick<Repository, 'blob'>,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.blob(descriptor, 0, descriptor.size, signal)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (digestOf(bytes) !== descriptor.digest) throw new Error(`${descriptor.digest} does not verify`);
  return { descriptor, bytes };
}
