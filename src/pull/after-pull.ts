import type { BlobOrigin } from '../blobs/blob-origin.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { SharedServices } from './pull-context.ts';
import { keepSeeding, seedBlobs } from './seed.ts';

/** Removes old blobs, down to the store's limit. The image is delivered by now: a failure is a warning, no error. */
export async function shrinkStore({
  store,
  listener,
}: Pick<SharedServices, 'store' | 'listener'>): Promise<void> {
  try {
    await store.gc();
  } catch (error) {
    listener({ kind: 'warning', message: `the store could not be shrunk: ${String(error)}` });
  }
}

/**
 * Seeds the blobs of an image that was pulled. The image is already delivered, so any end of seeding, Ctrl-C included,
 * is success.
 * @param seedMs how long, milliseconds; undefined: until the signal
 */
export async function seedAfterPull(
  blobs: readonly Descriptor[],
  origin: BlobOrigin,
  seedMs: number | undefined,
  services: SharedServices,
  signal: AbortSignal,
): Promise<void> {
  if (seedMs === 0) return;
  try {
    await seedBlobs(blobs, origin, services, signal);
    const digests = blobs.map(({ digest }) => digest);
    await keepSeeding(() => services.downloads.seeds.totals(digests), seedMs, services, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
