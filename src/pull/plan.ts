import { buffer } from 'node:stream/consumers';
import { QuayctlError } from '../base/errors.ts';
import type { Engine, EnginePresence } from '../engines/engine.ts';
import { parseImageConfig } from '../image/config.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import {
  unrunnableReason,
  type ImageManifest,
  type ResolvedImage,
  type RunnableImage,
} from '../image/manifest.ts';
import { formatPlatform } from '../image/platform.ts';
import { formatReference } from '../image/reference.ts';
import { fetchBlob, SMALL_BLOB_BYTES, type BlobTools } from './fetch-blob.ts';
import { NOTHING, type BlobOutcome } from './receipt.ts';
import type { PullRequest } from './request.ts';
import { assertPlatform, runsOnPlatform } from './single-platform.ts';
import type { World } from './world.ts';

/** Layers of which the torrents are asked for ahead of time. */
const AHEAD = 4;

/** What a pull still has to move, and into what. */
export interface PullPlan {
  /** The name in full. */
  readonly name: string;
  readonly image: ResolvedImage;
  /** Absent where no engine is to run it. */
  readonly runnable?: { readonly image: RunnableImage; readonly presence: EnginePresence };
  /** Each blob once, in the order in which they are wanted: the base layer first, as engines apply them. */
  readonly fetch: readonly Descriptor[];
  /** What is known before anything of it is fetched: layers that the engine has. */
  readonly settled: ReadonlyMap<Digest, BlobOutcome>;
}

/**
 * ResolvedImage -> PullPlan. An engine is asked what it has, for which the config (one small blob) is needed first.
 * @throws QuayctlError `unsupported` for an artifact that no engine can run, `not-found` where `--platform` names
 *   another than the image's only one, and what fetching the config throws
 */
export async function makePlan(
  image: ResolvedImage,
  { destination, platform }: Pick<PullRequest, 'destination' | 'platform'>,
  tools: BlobTools<World>,
  signal: AbortSignal,
): Promise<PullPlan> {
  const { world } = tools;
  await prepareSwarm(image, tools, signal);
  if (destination.kind !== 'engine' || world.engine === undefined) {
    const isImage = unrunnableReason(image.manifest) === undefined;
    if (platform !== undefined && isImage) assertPlatform(await withConfig(image, tools, signal), platform);
    return announced(planForStore(image), tools);
  }
  const runnable = await withConfig(image, tools, signal);
  if (platform !== undefined) assertPlatform(runnable, platform);
  else await warnOfPlatform(runnable, world.engine, world, signal);
  world.listener({ kind: 'connecting', engine: world.engine.name });
  const presence = await world.engine.presence(runnable, signal);
  return announced(planForEngine(runnable, presence), tools);
}

/** As Docker does it: an emulator may be there. */
export async function warnOfPlatform(
  image: RunnableImage,
  engine: Engine,
  { listener }: BlobTools['world'],
  signal: AbortSignal,
): Promise<void> {
  const platform = await engine.platform(signal);
  if (runsOnPlatform(image, platform)) return;
  const message = `the image is for ${formatPlatform(image.config)}, ${engine.name} runs ${formatPlatform(platform)}`;
  listener({ kind: 'warning', message });
}

/**
 * While the engine is asked what it has, the service is asked for the first torrents and BitTorrent is loaded: by the
 * time the first layer is wanted, nothing is left to wait for.
 */
async function prepareSwarm(
  { manifest }: ResolvedImage,
  { world, finder }: BlobTools,
  signal: AbortSignal,
): Promise<void> {
  let asked = 0;
  for (const blob of unique(manifest.layers)) {
    if (blob.size < SMALL_BLOB_BYTES || (await world.store.stat(blob.digest)) !== undefined) continue;
    finder.askAhead(blob, signal);
    if (++asked === AHEAD) break;
  }
  // Whatever is wrong with it is told when a blob needs it.
  if (asked > 0) world.swarm().catch(() => undefined);
}

function announced(plan: PullPlan, tools: BlobTools): PullPlan {
  tools.world.listener({ kind: 'planned', blobs: plan.fetch, inEngine: plan.settled.size });
  return plan;
}

async function withConfig(
  image: ResolvedImage,
  tools: BlobTools,
  signal: AbortSignal,
): Promise<RunnableImage> {
  const reason = unrunnableReason(image.manifest);
  if (reason !== undefined) {
    throw new QuayctlError(
      'unsupported',
      `${formatReference(image.reference)} is no container image: ${reason}`,
      {
        hint: '`quayctl torrent pull` fetches artifacts into the store or, with --output, into an OCI layout',
      },
    );
  }
  await fetchBlob(image.manifest.config, tools, signal);
  const bytes = await buffer(await tools.world.store.stream(image.manifest.config.digest));
  return { ...image, config: parseImageConfig(bytes, image.manifest) };
}

/** For an engine: only what it does not have. */
function planForEngine(image: RunnableImage, presence: EnginePresence): PullPlan {
  const missing = image.manifest.layers.filter((_, at) => !presence.image && presence.layers[at] !== true);
  // A layer that stands twice may be present at one place of the chain and missing at the other: it is needed.
  const needed = new Set(missing.map(({ digest }) => digest));
  const there = image.manifest.layers.filter(({ digest }) => !needed.has(digest));
  return {
    name: formatReference(image.reference),
    image,
    runnable: { image, presence },
    fetch: unique(missing),
    settled: new Map(there.map(({ digest, size }) => [digest, { ...NOTHING, alreadyInEngine: size }])),
  };
}

/** For the store alone: every blob of the image, its config too. */
function planForStore(image: ResolvedImage): PullPlan {
  return {
    name: formatReference(image.reference),
    image,
    fetch: blobsOf(image.manifest),
    settled: new Map(),
  };
}

/** Every blob that a manifest names, each once, config first. */
export function blobsOf(manifest: ImageManifest): Descriptor[] {
  return unique([manifest.config, ...manifest.layers]);
}

function unique(descriptors: readonly Descriptor[]): Descriptor[] {
  const byDigest = new Map<Digest, Descriptor>();
  for (const descriptor of descriptors) {
    const before = byDigest.get(descriptor.digest);
    if (before !== undefined && before.size !== descriptor.size) {
      throw new QuayctlError(
        'protocol',
        `the manifest states two sizes for ${descriptor.digest}: ${before.size} and ${descriptor.size} bytes`,
      );
    }
    if (before === undefined) byDigest.set(descriptor.digest, descriptor);
  }
  return [...byDigest.values()];
}
