import { isQuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { BlobFeed } from '../engines/engine.ts';
import { fetchBlob, type BlobTools } from './fetch-blob.ts';
import type { BlobOutcome } from './receipt.ts';

/**
 * Blobs on the way at one time. Early layers must come early (an engine applies them in order), and the end of one
 * must overlap with the begin of the next so that the pipe never idles.
 */
const PARALLEL = 3;

/** Blobs on their way into the store, in order; each can be waited for alone. */
export interface Fetching {
  readonly feed: BlobFeed;
  readonly outcomes: ReadonlyMap<Digest, BlobOutcome>;
  /** Resolves when every blob is committed. Rejects with the first failure, after the others have come to an end. */
  readonly done: Promise<void>;
  readonly failed: () => boolean;
}

/**
 * PullPlan -> blobs in the store. One blob that fails does not stop the others: what they bring is kept for the
 * next run; only a signal, or a disk that is full, stops everything.
 */
export function startFetching(blobs: readonly Descriptor[], tools: BlobTools, signal: AbortSignal): Fetching {
  const outcomes = new Map<Digest, BlobOutcome>();
  const stop = new AbortController();
  const all = AbortSignal.any([signal, stop.signal]);
  const arrivals = new Map(blobs.map(({ digest }) => [digest, Promise.withResolvers<void>()]));
  // A blob that nobody waits for must not end the process when it fails: `done` tells.
  for (const { promise } of arrivals.values()) promise.catch(() => undefined);

  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let blob = blobs[next++]; blob !== undefined; blob = blobs[next++]) {
      const arrival = arrivals.get(blob.digest);
      try {
        all.throwIfAborted();
        const outcome = await fetchBlob(blob, tools, all);
        outcomes.set(blob.digest, outcome);
        tools.world.listener({ kind: 'completed', digest: blob.digest, outcome });
        arrival?.resolve();
      } catch (error) {
        failure ??= { error };
        arrival?.reject(error);
        if (isQuayctlError(error, 'disk-full')) stop.abort(error);
      }
    }
  };
  const done = Promise.all(Array.from({ length: PARALLEL }, worker)).then(() => {
    if (failure !== undefined) throw failure.error;
  });
  done.catch(() => undefined);

  const feed: BlobFeed = {
    // A blob outside of the plan was in the store before (a config).
    ready: (digest) => arrivals.get(digest)?.promise ?? Promise.resolve(),
    stream: (digest) => tools.world.store.stream(digest),
  };
  return { feed, outcomes, done, failed: () => failure !== undefined };
}
