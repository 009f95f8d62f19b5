import { isQuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import type { Seeds } from './seeds.ts';
import type { BlobTools } from './fetch-blob.ts';
import type { FetchWorld } from './world.ts';

const PROGRESS_MS = 2_000;
/** Torrents joined at one time: a store may hold a thousand, and the tracker is one machine. */
const PARALLEL = 4;
/** setTimeout counts in 31 bits; a longer delay would end at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Gives committed blobs to others. A blob without a torrent is told and left out.
 */
export async function seedBlobs(
  blobs: readonly Descriptor[],
  tools: BlobTools,
  signal: AbortSignal,
): Promise<void> {
  const queue = blobs.filter(({ digest, size }) => size > 0 && !tools.seeds.has(digest));
  const worker = async (): Promise<void> => {
    for (let blob = queue.shift(); blob !== undefined; blob = queue.shift()) {
      try {
        await seedBlob(blob, tools, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!isQuayctlError(error) || error.code === 'port') throw error;
        const message = `not seeding ${shortDigest(blob.digest)}: ${error.message}`;
        tools.world.listener({ kind: 'warning', message });
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

async function seedBlob(
  blob: Descriptor,
  { world, rules, finder, seeds }: BlobTools,
  signal: AbortSignal,
): Promise<void> {
  const plan = await finder.find(blob, 0, signal);
  const metainfo =
    plan.kind === 'torrent' ? plan.metainfo : plan.kind === 'later' ? await plan.metainfo(signal) : undefined;
  if (metainfo === undefined) {
    const reason = plan.kind === 'none' ? plan.reason : 'no torrent';
    world.listener({ kind: 'warning', message: `not seeding ${shortDigest(blob.digest)}: ${reason}` });
    return;
  }
  const reader = await world.store.open(blob.digest);
  try {
    const client = await world.swarm();
    const storage = { size: reader.size, read: reader.read.bind(reader) };
    const swarm = await client.join({
      metainfo,
      storage,
      signal,
      renewTrackers: (abort) => finder.renewTrackers(blob, metainfo, abort),
      ...(rules.trackers.length > 0 ? { trackers: rules.trackers } : {}),
    });
    seeds.add({ digest: blob.digest, swarm, close: () => reader.close() });
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/**
 * Seeds until the duration is over or the signal comes; both are a good end.
 * @param durationMs undefined for as long as the signal lets it
 */
export async function keepSeeding(
  seeds: Seeds,
  durationMs: number | undefined,
  world: Pick<FetchWorld, 'listener'>,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const untilMs = durationMs === undefined ? undefined : Date.now() + durationMs;
  world.listener({ kind: 'seeding', blobs: seeds.count, durationMs });
  const { promise: over, resolve } = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => {
    const left = (untilMs ?? Infinity) - Date.now();
    if (left <= 0) resolve();
    else timer = setTimeout(arm, Math.min(left, LONGEST_TIMER_MS));
  };
  arm();
  const ticker = setInterval(() => {
    const { count: torrents, peers, uploaded } = seeds;
    world.listener({ kind: 'seed-progress', torrents, peers, uploaded });
  }, PROGRESS_MS);
  signal.addEventListener('abort', () => resolve(), { once: true });
  await over;
  clearTimeout(timer);
  clearInterval(ticker);
}
