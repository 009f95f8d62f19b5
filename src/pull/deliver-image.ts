import { QuayctlError } from '../base/errors.ts';
import type { EnginePresence } from '../engines/engine.ts';
import type { ResolvedImage, RunnableImage } from '../image/manifest.ts';
import type { ImageReference, TaggedReference } from '../image/reference.ts';
import { checkLayoutTarget, exportArchive, exportLayout } from '../image-output/image-output.ts';
import { fetchAttestations } from './attestations.ts';
import type { Fetching } from './image-kind.ts';
import type { PullContext } from './pull-context.ts';
import type { PullRequest } from './request.ts';

/** An image that an engine can run, and what the engine has of it. */
export interface RunnablePlan {
  readonly image: RunnableImage;
  readonly presence: EnginePresence;
}

interface Delivery {
  readonly image: ResolvedImage;
  /** Absent where the image goes into no engine. */
  readonly runnable: RunnablePlan | undefined;
  readonly fetching: Fetching;
}

/** Checks what can be known about the destination before anything is downloaded for it. @throws QuayctlError `usage` */
export async function checkDestination({ destination }: PullRequest): Promise<void> {
  if (destination.kind === 'layout') await checkLayoutTarget(destination.path);
}

/**
 * The image into the place where it was to go. An engine takes layers while later ones still arrive; an archive or a
 * layout is written when all are here.
 * @throws QuayctlError `engine`, `disk-full`, and what made a blob fail
 */
export async function deliverImage(
  { image, runnable, fetching }: Delivery,
  request: PullRequest,
  context: PullContext,
  signal: AbortSignal,
): Promise<void> {
  const { destination } = request;
  if (runnable !== undefined) return intoEngine(runnable, request, fetching, context, signal);
  if (destination.kind === 'engine') throw new QuayctlError('internal', 'a pull into an engine without one');
  await fetching.done;
  if (destination.kind === 'store') return;
  context.listener({ kind: 'exporting', path: destination.path });
  const write = destination.kind === 'layout' ? exportLayout : exportArchive;
  await write(context.store, image, destination.path, signal);
}

async function intoEngine(
  { image, presence }: RunnablePlan,
  { reference, recordDigest }: PullRequest,
  { feed }: Fetching,
  { engine, listener, repository }: PullContext,
  signal: AbortSignal,
): Promise<void> {
  if (engine === undefined) throw new QuayctlError('internal', 'a pull into an engine without one');
  listener({ kind: 'loading', engine: engine.name });
  const withAttestations = {
    ...feed,
    attestations: (within: AbortSignal) => fetchAttestations(image, repository, within),
  };
  await engine.load(image, withAttestations, {
    names: names(reference),
    // A pull by digest alone has no other name than its digest.
    recordDigest: recordDigest || reference.digest !== undefined,
    presence,
    signal,
    onProgress: ({ layer, done }) => {
      if (done) listener({ kind: 'layer-loaded', digest: layer });
    },
  });
}

/** `name:tag@digest` is known to an engine as `name:tag`; `name@digest` has no name that it could be loaded under. */
function names({ registry, repository, tag }: ImageReference): TaggedReference[] {
  return tag === undefined ? [] : [{ registry, repository, tag }];
}
