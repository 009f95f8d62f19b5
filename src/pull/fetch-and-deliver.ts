import type { Digest } from '../image/digest.ts';
import type { BlobTools } from './fetch-blob.ts';
import { startFetching, type Fetching } from './fetch.ts';
import type { PullPlan } from './plan.ts';
import type { BlobOutcome } from './receipt.ts';

/**
 * Delivery runs beside the downloads. Whichever fails first is what the user is told.
 * @param deliver resolves when the image is where it was to go
 */
export async function fetchAndDeliver(
  { fetch, settled }: Pick<PullPlan, 'fetch' | 'settled'>,
  tools: BlobTools,
  signal: AbortSignal,
  deliver: (fetching: Fetching, signal: AbortSignal) => Promise<void>,
): Promise<ReadonlyMap<Digest, BlobOutcome>> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const fetching = startFetching(fetch, tools, both);
  try {
    await deliver(fetching, both);
  } catch (error) {
    // The engine failed: nobody waits for the rest. A blob failed: the others are kept for the next run.
    if (!fetching.failed()) stop.abort(error);
    await fetching.done.catch(() => undefined);
    throw error;
  }
  await fetching.done;
  return new Map([...settled, ...fetching.outcomes]);
}
