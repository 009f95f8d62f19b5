import { Readable } from 'node:stream';
import { isQuayctlError } from '../base/errors.ts';
import type { BlobOutcome } from '../blobs/transfer-ledger.ts';
import type { FileFeed } from '../engines/engine.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { PullProgress } from './events.ts';
import type { Fetching, PullPlan } from './image-kind.ts';
import type { SharedServices } from './pull-context.ts';

const PROGRESS_MS = 200;

/**
 * Begins to fetch what a plan says. One blob that fails does not stop the others: what they bring is kept for the next
 * run. Only a signal, or a full disk, stops everything. When the registry is gone no further blob is begun: each of
 * forty layers would wait for it.
 */
export function startFetching(
  {
    fetch,
    begun,
    origin,
    layers,
    settled,
  }: Pick<PullPlan, 'fetch' | 'begun' | 'origin' | 'layers' | 'settled'>,
  { store, downloads, listener }: SharedServices,
  signal: AbortSignal,
): Fetching {
  const outcomes = new Map<Digest, BlobOutcome>();
  const stop = new AbortController();
  const stopQueued = new AbortController();
  const arrivals = new Map(fetch.map(({ digest }) => [digest, Promise.withResolvers<void>()]));
  // The failure of a blob must not end the process as an unhandled rejection: `done` reports it.
  for (const { promise } of arrivals.values()) promise.catch(() => undefined);

  let failure: { readonly error: unknown } | undefined;
  const fetchOne = async (blob: Descriptor): Promise<void> => {
    const { digest } = blob;
    const ownStop = new AbortController();
    const stopIfQueued = (): void => {
      if (downloads.find(digest)?.states.at(-1) === 'queued') ownStop.abort(stopQueued.signal.reason);
    };
    stopQueued.signal.addEventListener('abort', stopIfQueued, { once: true });
    try {
      const all = AbortSignal.any([signal, stop.signal, ownStop.signal]);
      const outcome = await (begun?.get(digest) ?? downloads.fetch(blob, origin, all));
      outcomes.set(digest, outcome);
      listener({ kind: 'completed', digest, outcome });
      arrivals.get(digest)?.resolve();
    } catch (error) {
      failure ??= { error };
      arrivals.get(digest)?.reject(error);
      if (isQuayctlError(error, 'disk-full')) stop.abort(error);
      if (isQuayctlError(error, 'unreachable')) stopQueued.abort(error);
    }
  };
  const ticker = setInterval(() => {
    const progress = sum(fetch, outcomes, (digest) => downloads.find(digest)?.progress());
    listener({ kind: 'pull-progress', progress });
  }, PROGRESS_MS);
  const done = Promise.all(fetch.map(fetchOne)).then(() => {
    clearInterval(ticker);
    if (failure !== undefined) throw failure.error;
  });
  done.catch(() => undefined);

  /** Somebody has removed images from the engine that shared layers with this one. */
  const fetchRemoved = async (layer: Descriptor): Promise<void> => {
    const message = `${shortDigest(layer.digest)} was removed from the engine meanwhile; it is fetched`;
    listener({ kind: 'warning', message });
    outcomes.set(layer.digest, await downloads.fetch(layer, origin, AbortSignal.any([signal, stop.signal])));
  };

  const feed: FileFeed = {
    // A blob outside of the plan was in the store before (a config).
    ready: (digest) => arrivals.get(digest)?.promise ?? Promise.resolve(),
    stream: async (digest) => {
      const layer = layers.find((each) => each.digest === digest);
      const isMissing = settled.has(digest) && (await store.stat(digest)) === undefined;
      if (layer !== undefined && isMissing) await fetchRemoved(layer);
      return store.stream(digest);
    },
    follow: async (digest, reading) => {
      const download = downloads.find(digest);
      if (download === undefined || (await store.stat(digest)) !== undefined) return undefined;
      const options = { isUrgent: false, isVerified: false };
      return Readable.from(download.reader(0, download.size, reading, options), { objectMode: false });
    },
    file: (digest) => store.blobFile(digest),
  };
  return { feed, outcomes, done, failed: () => failure !== undefined };
}

/** How far the blobs are together, and how long the rest takes at the present rate. */
function sum(
  blobs: readonly Descriptor[],
  outcomes: ReadonlyMap<Digest, BlobOutcome>,
  running: (digest: Digest) => Pick<PullProgress, 'received' | 'downloadRate'> | undefined,
): PullProgress {
  const total = { size: 0, received: 0, downloadRate: 0, layers: blobs.length, arrived: outcomes.size };
  for (const { digest, size } of blobs) {
    const progress = outcomes.has(digest) ? { received: size, downloadRate: 0 } : running(digest);
    total.size += size;
    total.received += progress?.received ?? 0;
    total.downloadRate += progress?.downloadRate ?? 0;
  }
  if (total.downloadRate === 0) return total;
  return { ...total, etaSeconds: (total.size - total.received) / total.downloadRate };
}
