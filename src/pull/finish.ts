import type { Descriptor } from '../image/descriptor.ts';
import type { BlobTools } from './fetch-blob.ts';
import type { PullRequest } from './request.ts';
import { keepSeeding, seedBlobs } from './seed.ts';
import type { FetchWorld } from './world.ts';

/** Down to the store's limit. The image is where it was to go by now: what fails here is told, not thrown. */
export async function shrinkStore({
  store,
  listener,
}: Pick<FetchWorld, 'store' | 'listener'>): Promise<void> {
  try {
    await store.gc();
  } catch (error) {
    listener({ kind: 'warning', message: `the store could not be shrunk: ${String(error)}` });
  }
}

/** The image is delivered: whatever ends the giving, a signal too, is a good end. */
export async function giveOn(
  blobs: readonly Descriptor[],
  { seedMs }: Pick<PullRequest, 'seedMs'>,
  tools: BlobTools,
  signal: AbortSignal,
): Promise<void> {
  if (seedMs === 0) return;
  try {
    await seedBlobs(blobs, tools, signal);
    await keepSeeding(tools.seeds, seedMs, tools.world, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
