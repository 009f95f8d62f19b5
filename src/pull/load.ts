import { QuayctlError } from '../base/errors.ts';
import type { ImageReference, TaggedReference } from '../image/reference.ts';
import { checkLayoutTarget, exportArchive, exportLayout } from '../image-output/image-output.ts';
import type { Fetching } from './fetch.ts';
import type { PullPlan } from './plan.ts';
import type { PullRequest } from './request.ts';
import type { World } from './world.ts';

/** What can be told about the place before anything is downloaded for it. @throws QuayctlError `usage` */
export async function checkDestination({ destination }: PullRequest): Promise<void> {
  if (destination.kind === 'layout') await checkLayoutTarget(destination.path);
}

/**
 * The image into the place where it was to go. An engine takes layers while later ones still arrive; an archive or a
 * layout is written when all are here.
 * @throws QuayctlError `engine`, `disk-full`, and what made a blob fail
 */
export async function deliver(
  plan: PullPlan,
  request: PullRequest,
  fetching: Fetching,
  world: World,
  signal: AbortSignal,
): Promise<void> {
  const { destination } = request;
  switch (destination.kind) {
    case 'engine':
      return intoEngine(plan, request, fetching, world, signal);
    case 'store':
      return fetching.done;
    case 'layout':
      await fetching.done;
      world.listener({ kind: 'exporting', path: destination.path });
      return exportLayout(world.store, plan.image, destination.path, signal);
    case 'archive':
      await fetching.done;
      world.listener({ kind: 'exporting', path: destination.path });
      return exportArchive(world.store, plan.image, destination.path, signal);
  }
}

async function intoEngine(
  plan: PullPlan,
  request: PullRequest,
  fetching: Fetching,
  world: World,
  signal: AbortSignal,
): Promise<void> {
  const { engine } = world;
  if (engine === undefined || plan.runnable === undefined) {
    throw new QuayctlError('internal', 'a pull into an engine was planned without one');
  }
  const { image, presence } = plan.runnable;
  world.listener({ kind: 'loading', engine: engine.name });
  await engine.load(image, fetching.feed, {
    names: names(request.reference),
    // A pull by digest alone has no other name than its digest.
    recordDigest: request.recordDigest || request.reference.digest !== undefined,
    presence,
    signal,
    onProgress: ({ layer, done }) => {
      if (done) world.listener({ kind: 'layer-loaded', digest: layer });
    },
  });
}

/** `name:tag@digest` is known to an engine as `name:tag`; `name@digest` has no name that it could be loaded under. */
function names({ registry, repository, tag }: ImageReference): TaggedReference[] {
  return tag === undefined ? [] : [{ registry, repository, tag }];
}
