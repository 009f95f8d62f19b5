import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import type { BlobTools } from './fetch-blob.ts';
import { startFetching } from './fetch.ts';
import { Pace } from './ledger.ts';
import { checkDestination, deliver } from './load.ts';
import { blobsOf, makePlan, type PullPlan } from './plan.ts';
import { makeReceipt, type BlobOutcome, type Receipt } from './receipt.ts';
import type { PullRequest } from './request.ts';
import { resolveImage } from './resolve.ts';
import { keepSeeding, seedBlobs } from './seed.ts';
import { Seeds } from './seeds.ts';
import { TorrentFinder } from './torrents.ts';
import type { World } from './world.ts';

/**
 * An image reference goes in; the image comes out in an engine, an archive or the store, and is given to others for
 * as long as was asked. Read it as a list of steps: each takes what the former one made, and nothing walks back.
 * @throws QuayctlError of every code; what has arrived by then stays in the store for the next run
 */
export async function pull(request: PullRequest, world: World, signal: AbortSignal): Promise<Receipt> {
  const started = performance.now();
  const seeds = new Seeds();
  const finder = new TorrentFinder(world);
  const tools: BlobTools = { world, rules: request.rules, finder, seeds, pace: new Pace() };
  await checkDestination(request);
  const image = await resolveFor(request, world, signal);
  // No gc of another process takes what this one is about to need.
  const lease = await world.store.lease(blobsOf(image.manifest).map(({ digest }) => digest));
  try {
    const plan = await makePlan(image, request, tools, signal);
    const outcomes = await fetchAndDeliver(plan, request, tools, signal);
    await world.store.recordImage(image);
    const receipt = makeReceipt({
      image: plan.name,
      digest: image.document.descriptor.digest,
      index: image.index?.descriptor.digest,
      engine: request.destination.kind === 'engine' ? (world.engine?.name ?? 'none') : 'none',
      layers: image.manifest.layers,
      outcomes,
      uploaded: seeds.uploaded,
      seconds: (performance.now() - started) / 1000,
    });
    request.onReceipt(receipt);
    await shrinkStore(world);
    await giveOn(blobsOf(image.manifest), request, tools, signal);
    return receipt;
  } finally {
    await seeds.close();
    await lease.close();
  }
}

/** The engine is asked for its platform while the registry is asked for the manifest; without an engine all fails. */
export async function resolveFor(
  request: PullRequest,
  world: World,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const platform = wantedPlatform(request, world, signal);
  const image = resolveImage(request.reference, platform, request.rules.offlineOk, world, signal);
  const [resolved] = await Promise.all([image, platform]);
  return resolved;
}

async function wantedPlatform(request: PullRequest, world: World, signal: AbortSignal): Promise<Platform> {
  const asked = world.engine?.platform(signal);
  // A seed puts nothing into the engine: without one, what this machine would run is seeded.
  const engines = await (request.destination.kind === 'engine' ? asked : asked?.catch(() => undefined));
  return request.platform ?? engines ?? request.hostPlatform;
}

/** Loading runs beside the downloads. Whichever fails first is what the user is told. */
async function fetchAndDeliver(
  plan: PullPlan,
  request: PullRequest,
  tools: BlobTools,
  signal: AbortSignal,
): Promise<ReadonlyMap<Digest, BlobOutcome>> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const fetching = startFetching(plan.fetch, tools, both);
  try {
    await deliver(plan, request, fetching, tools.world, both);
  } catch (error) {
    // The engine failed: nobody waits for the rest. A blob failed: the others are kept for the next run.
    if (!fetching.failed()) stop.abort(error);
    await fetching.done.catch(() => undefined);
    throw error;
  }
  await fetching.done;
  return new Map([...plan.settled, ...fetching.outcomes]);
}

/** Down to the store's limit. The image is where it was to go by now: what fails here is told, not thrown. */
export async function shrinkStore({ store, listener }: World): Promise<void> {
  try {
    await store.gc();
  } catch (error) {
    listener({ kind: 'warning', message: `the store could not be shrunk: ${String(error)}` });
  }
}

/** The image is delivered: whatever ends the giving, a signal too, is a good end. */
export async function giveOn(
  blobs: readonly Descriptor[],
  { seedMs }: PullRequest,
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
