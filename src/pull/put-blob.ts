import type { Descriptor } from '../image/descriptor.ts';
import type { BlobStore } from '../store/blob-store.ts';

/** A small blob that is here already, through the store's door. @throws QuayctlError as the store */
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
