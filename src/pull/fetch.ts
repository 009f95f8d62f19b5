import { isQuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { FileFeed } from '../engines/engine.ts';
import { fetchBlob, type BlobTools } from './fetch-blob.ts';
import type { BlobOutcome } from './receipt.ts';
import { Turns } from './turns.ts';

/** Blobs on their way into the store, in order; each can be waited for alone. */
export interface Fetching {
  readonly feed: FileFeed;
  readonly outcomes: ReadonlyMap<Digest, BlobOutcome>;
  /** Resolves when every blob is committed. Rejects with the first failure, after the others have come to an end. */
  readonly done: Promise<void>;
  readonly failed: () => boolean;
}

/**
 * PullPlan -> blobs in the store. One blob that fails does not stop the others: what they bring is kept for the
 * next run; only a signal, or a disk that is full, stops everything. Where the registry is gone, no further blob is
 * begun: forty layers would each wait for it.
 */
export function startFetching(blobs: readonly Descriptor[], tools: BlobTools, signal: AbortSignal): Fetching {
  const outcomes = new Map<Digest, BlobOutcome>();
  const stop = new AbortController();
  const all = AbortSignal.any([signal, stop.signal]);
  const arrivals = new Map(blobs.map(({ digest }) => [digest, Promise.withResolvers<void>()]));
  // A blob that nobody waits for must not end the process when it fails: `done` tells.
  for (const { promise } of arrivals.values()) promise.catch(() => undefined);

  const turns = new Turns();
  let failure: { readonly error: unknown } | undefined;
  const fetch = async (blob: Descriptor): Promise<void> => {
    const { digest, size } = blob;
    try {
      await turns.begin(digest, size);
      all.throwIfAborted();
      if (isQuayctlError(failure?.error, 'unreachable')) throw failure.error;
      const outcome = await fetchBlob(blob, tools, all, (received) => turns.moved(digest, received));
      outcomes.set(digest, outcome);
      tools.world.listener({ kind: 'completed', digest, outcome });
      arrivals.get(digest)?.resolve();
    } catch (error) {
      failure ??= { error };
      arrivals.get(digest)?.reject(error);
      if (isQuayctlError(error, 'disk-full')) stop.abort(error);
    } finally {
      turns.ended(digest);
    }
  };
  all.addEventListener('abort', () => turns.close(), { once: true });
  const done = Promise.all(blobs.map(fetch)).then(() => {
    turns.close();
    if (failure !== undefined) throw failure.error;
  });
  done.catch(() => undefined);

  const feed: FileFeed = {
    // A blob outside of the plan was in the store before (a config).
    ready: (digest) => arrivals.get(digest)?.promise ?? Promise.resolve(),
    stream: (digest) => tools.world.store.stream(digest),
    file: (digest) => tools.world.store.blobFile(digest),
  };
  return { feed, outcomes, done, failed: () => failure !== undefined };
}
