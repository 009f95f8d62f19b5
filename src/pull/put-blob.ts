import type { Artifact } from '../image/artifact.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { Store } from '../store/store.ts';

/** Commits a small blob that is in memory. @throws QuayctlError as the store */
export async function putBlob(
  store: Pick<BlobStore, 'begin'>,
  descriptor: Descriptor,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const partial = await store.begin(descriptor, signal);
  if (partial === 'present') return;
  try {
    await partial.write(0, bytes);
    await partial.commit();
  } finally {
    await partial.close();
  }
}

/** Names something in the store that is no OCI image of itself. @throws QuayctlError as the store */
export async function recordArtifact(
  store: Pick<Store, 'begin' | 'recordImage'>,
  { image, config }: Artifact,
  signal: AbortSignal,
): Promise<void> {
  await putBlob(store, image.manifest.config, config, signal);
  await store.recordImage(image);
}
