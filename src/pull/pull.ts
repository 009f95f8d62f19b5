import type { ResolvedImage } from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import type { BlobTools } from './fetch-blob.ts';
import { fetchAndDeliver } from './fetch-and-deliver.ts';
import { deliverGated } from './gate.ts';
import { giveOn, shrinkStore } from './finish.ts';
import { Pace } from './ledger.ts';
import { checkDestination, deliver } from './load.ts';
import { blobsOf, makePlan } from './plan.ts';
import { makeReceipt, type Receipt } from './receipt.ts';
import type { PullRequest } from './request.ts';
import { resolveImage } from './resolve.ts';
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
  const tools: BlobTools<World> = { world, rules: request.rules, finder, seeds, pace: new Pace() };
  await checkDestination(request);
  const image = await resolveFor(request, world, signal);
  // No gc of another process takes what this one is about to need.
  const lease = await world.store.lease(blobsOf(image.manifest).map(({ digest }) => digest));
  try {
    const plan = await makePlan(image, request, tools, signal);
    const { digest } = image.document.descriptor;
    const gated = { name: plan.name, digest, manifest: image.manifest };
    const outcomes = await fetchAndDeliver(plan, tools, signal, (fetching, both) =>
      deliverGated(request.gate, gated, fetching.done, both, () =>
        deliver(plan, request, fetching, world, both),
      ),
    );
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
