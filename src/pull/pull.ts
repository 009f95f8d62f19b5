import type { Platform } from '../image/platform.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import { checkDestination } from './deliver-image.ts';
import { gatedImage } from './gate.ts';
import type { ImageKind } from './image-kind.ts';
import { blobsOf, planImage } from './plan.ts';
import type { PullContext } from './pull-context.ts';
import type { Receipt } from './receipt.ts';
import type { PullRequest } from './request.ts';
import { resolveImage } from './resolve.ts';
import { runPull } from './run-pull.ts';

/**
 * An image reference goes in; the image comes out in an engine, an archive or the store, and is seeded for as long as
 * was asked. The steps are in `run-pull.ts`.
 * @throws QuayctlError of every code; what has arrived by then stays in the store for the next run
 */
export function pull(request: PullRequest, context: PullContext, signal: AbortSignal): Promise<Receipt> {
  const kind: ImageKind<ResolvedImage> = {
    async resolve() {
      await checkDestination(request);
      return resolveFor(request, context, signal);
    },
    blobs: ({ manifest }) => blobsOf(manifest),
    gated: gatedImage,
    plan: (image) => planImage(image, request, context, signal),
  };
  return runPull(kind, { ...request, engineName: engineName(request, context) }, context, signal);
}

/** `none` where the image goes into no engine. */
export function engineName({ destination }: PullRequest, { engine }: PullContext): string {
  return destination.kind === 'engine' ? (engine?.name ?? 'none') : 'none';
}

/** The engine is asked for its platform while the registry is asked for the manifest; without an engine all fails. */
export async function resolveFor(
  request: PullRequest,
  context: PullContext,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const platform = wantedPlatform(request, context, signal);
  const image = resolveImage(request.reference, platform, request.rules.offlineOk, context, signal);
  const [resolved] = await Promise.all([image, platform]);
  return resolved;
}

async function wantedPlatform(
  request: PullRequest,
  { engine }: PullContext,
  signal: AbortSignal,
): Promise<Platform> {
  const asked = engine?.platform(signal);
  // A seed puts nothing into the engine: without one, what this machine would run is seeded.
  const engines = await (request.destination.kind === 'engine' ? asked : asked?.catch(() => undefined));
  return request.platform ?? engines ?? request.hostPlatform;
}
