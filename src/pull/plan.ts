import { buffer } from 'node:stream/consumers';
import { QuayctlError } from '../base/errors.ts';
import type { BlobOrigin } from '../blobs/blob-origin.ts';
import { SMALL_BLOB_BYTES } from '../blobs/transfer.ts';
import type { Engine } from '../engines/engine.ts';
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
import { assertPlatform, runsOnPlatform } from '../image/single-platform.ts';
import { deliverImage, type RunnablePlan } from './deliver-image.ts';
import { inEngine, type PullPlan } from './image-kind.ts';
import { repositoryOrigin, type PullContext, type SharedServices } from './pull-context.ts';
import type { PullRequest } from './request.ts';

/** Layers of which the torrents are asked for ahead of time. */
const MAX_ASKED_AHEAD = 4;

/**
 * ResolvedImage -> PullPlan. An engine is asked what it has, for which the config (one small blob) is needed first.
 * @throws QuayctlError `unsupported` for an artifact that no engine can run, `not-found` where `--platform` names
 *   another than the image's only one, `protocol` for two sizes of one blob, and what fetching the config throws
 */
export async function planImage(
  image: ResolvedImage,
  request: PullRequest,
  context: PullContext,
  signal: AbortSignal,
): Promise<PullPlan> {
  const origin = repositoryOrigin(context, request.rules);
  await askAhead(image, origin, context, signal);
  const runnable = await planRunnable(image, request, origin, context, signal);
  const { layers } = image.manifest;
  const missing = runnable === undefined ? layers : missingLayers(runnable);
  // A layer that stands twice may be present at one place of the chain and missing at the other: it is needed.
  const needed = new Set(missing.map(({ digest }) => digest));
  let recorded: Promise<void> | undefined;
  const record = (): Promise<void> => (recorded ??= context.store.recordImage(image));
  return {
    name: formatReference(image.reference),
    digest: image.document.descriptor.digest,
    index: image.index?.descriptor.digest,
    layers,
    origin,
    fetch: runnable === undefined ? blobsOf(image.manifest) : unique(missing),
    settled: inEngine(layers.filter(({ digest }) => !needed.has(digest))),
    deliver: async (fetching, both) => {
      // Once all is in the store, while the engine still unpacks: it waits for the disk.
      void fetching.done.then(record).catch(() => undefined);
      try {
        await deliverImage({ image, runnable, fetching }, request, context, both);
      } catch (error) {
        // A record that was begun is not left half written.
        await recorded?.catch(() => undefined);
        throw error;
      }
    },
    record,
  };
}

/** Undefined where the image goes into no engine. */
async function planRunnable(
  image: ResolvedImage,
  { destination, platform }: PullRequest,
  origin: BlobOrigin,
  context: PullContext,
  signal: AbortSignal,
): Promise<RunnablePlan | undefined> {
  const { engine } = context;
  if (destination.kind !== 'engine' || engine === undefined) {
    const isImage = unrunnableReason(image.manifest) === undefined;
    if (platform !== undefined && isImage)
      assertPlatform(await withConfig(image, origin, context, signal), platform);
    return undefined;
  }
  const runnable = await withConfig(image, origin, context, signal);
  if (platform !== undefined) assertPlatform(runnable, platform);
  else await warnOfPlatform(runnable, engine, context, signal);
  context.listener({ kind: 'connecting', engine: engine.name });
  return { image: runnable, presence: await engine.presence(runnable, signal) };
}

/** Like Docker, a pull does not refuse another platform: an emulator may be installed. */
export async function warnOfPlatform(
  image: RunnableImage,
  engine: Engine,
  { listener }: Pick<SharedServices, 'listener'>,
  signal: AbortSignal,
): Promise<void> {
  const platform = await engine.platform(signal);
  if (runsOnPlatform(image, platform)) return;
  const message = `the image is for ${formatPlatform(image.config)}, ${engine.name} runs ${formatPlatform(platform)}`;
  listener({ kind: 'warning', message });
}

export function missingLayers({ image, presence }: RunnablePlan): Descriptor[] {
  return image.manifest.layers.filter((_, at) => !presence.image && presence.layers[at] !== true);
}

/**
 * While the engine is asked what it has, the service is asked for the first torrents and BitTorrent is loaded: by the
 * time the first layer is wanted, nothing is left to wait for.
 */
async function askAhead(
  { manifest }: ResolvedImage,
  { torrents }: BlobOrigin,
  { store, downloads }: SharedServices,
  signal: AbortSignal,
): Promise<void> {
  let asked = 0;
  for (const blob of unique(manifest.layers)) {
    if (blob.size < SMALL_BLOB_BYTES || (await store.stat(blob.digest)) !== undefined) continue;
    torrents.askAhead(blob, signal);
    if (++asked === MAX_ASKED_AHEAD) break;
  }
  // Small blobs need no torrent, but a service that the user named and that is no good must not go unnoticed.
  const [smallest] = manifest.layers;
  if (asked === 0 && torrents.isGiven && smallest !== undefined) torrents.askAhead(smallest, signal);
  if (asked > 0) downloads.prepareSwarm();
}

async function withConfig(
  image: ResolvedImage,
  origin: BlobOrigin,
  { store, downloads }: SharedServices,
  signal: AbortSignal,
): Promise<RunnableImage> {
  assertRunnable(image);
  const { config } = image.manifest;
  await downloads.fetch(config, origin, signal);
  const bytes = await buffer(await store.stream(config.digest));
  return { ...image, config: parseImageConfig(bytes, image.manifest) };
}

/** @throws QuayctlError `unsupported` for what no engine can run, and nothing can be squashed from */
export function assertRunnable({ manifest, reference }: ResolvedImage): void {
  const reason = unrunnableReason(manifest);
  if (reason === undefined) return;
  throw new QuayctlError('unsupported', `${formatReference(reference)} is not a container image: ${reason}`, {
    hint: '`quayctl torrent pull` fetches artifacts into the store or, with --output, into an OCI layout',
  });
}

/** Every blob that a manifest names, each once, config first. @throws QuayctlError `protocol` for two sizes of one */
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
