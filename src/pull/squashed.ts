import { buffer } from 'node:stream/consumers';
import { QuayctlError } from '../base/errors.ts';
import type { BlobOutcome } from '../blobs/transfer-ledger.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { ResolvedImage } from '../image/manifest.ts';
import { formatReference, type TaggedReference } from '../image/reference.ts';
import { assertPlatform } from '../image/single-platform.ts';
import { squashedArtifact, squashedTag } from '../image/squashed.ts';
import type { RunnablePlan } from './deliver-image.ts';
import { gatedImage } from './gate.ts';
import { inEngine, type ImageKind, type PullPlan } from './image-kind.ts';
import { assertRunnable, missingLayers, warnOfPlatform } from './plan.ts';
import type { PullContext } from './pull-context.ts';
import { engineName, resolveFor } from './pull.ts';
import { recordArtifact } from './put-blob.ts';
import type { Receipt } from './receipt.ts';
import type { PullRequest } from './request.ts';
import { runPull } from './run-pull.ts';
import { readSquashed, squashedFeed, type SquashedArchive } from './squashed-archive.ts';
import { SquashedSource } from './squashed-source.ts';

/** An image, and the file that takes the place of all its layers. */
interface ResolvedSquashed {
  readonly image: ResolvedImage;
  readonly name: TaggedReference;
  readonly file: Descriptor;
  readonly source: SquashedSource;
}

/**
 * As `pull`, for one file in place of all layers: the service makes it, and its torrent says what it must hash to.
 * @throws QuayctlError `no-torrent` where no service makes squashed images; every other code
 */
export function pullSquashed(
  request: PullRequest,
  context: PullContext,
  signal: AbortSignal,
): Promise<Receipt> {
  const kind: ImageKind<ResolvedSquashed> = {
    async resolve() {
      const image = await resolveFor(request, context, signal);
      assertRunnable(image);
      const source = new SquashedSource(context, image.document.descriptor.digest);
      return { image, name: squashedReference(image), file: await source.file(signal), source };
    },
    blobs: ({ file }) => [file],
    gated: ({ image }) => gatedImage(image),
    plan: (resolved) => planSquashed(resolved, request, context, signal),
  };
  return runPull(kind, { ...request, engineName: engineName(request, context) }, context, signal);
}

/** `NAME:TAG.squash`; pulled by digest, `NAME:sha256-<12 hex>.squash` of that digest. */
function squashedReference({ reference, document }: ResolvedImage): TaggedReference {
  const { registry, repository, tag, digest } = reference;
  return { registry, repository, tag: squashedTag(tag, digest ?? document.descriptor.digest) };
}

/**
 * What the engine is asked about stands in the file itself, a few KiB of it: the download begins, those bytes come
 * first, and it ends there when the engine has the layer.
 */
async function planSquashed(
  { image, name, file, source }: ResolvedSquashed,
  request: PullRequest,
  context: PullContext,
  signal: AbortSignal,
): Promise<PullPlan> {
  const { downloads, listener, store } = context;
  listener({ kind: 'squashed-starting' });
  const origin = source.origin(request.rules);
  const stop = new AbortController();
  const download = downloads.start(file, origin);
  const outcome = downloads.fetch(file, origin, AbortSignal.any([signal, stop.signal]));
  outcome.catch(() => undefined);
  try {
    const archive = await readSquashed(file, name, (start, end) =>
      buffer(download.reader(start, end, signal)),
    );
    const runnable = await planRunnable(archive, request, context, signal);
    const isNeeded = runnable === undefined || missingLayers(runnable).length > 0;
    if (!isNeeded) await stopped(outcome, stop);
    return {
      name: formatReference(name),
      digest: image.document.descriptor.digest,
      index: image.index?.descriptor.digest,
      vouchedBy: 'service',
      layers: [file],
      origin,
      fetch: isNeeded ? [file] : [],
      begun: new Map([[file.digest, outcome]]),
      settled: inEngine(isNeeded ? [] : [file]),
      deliver: async (fetching, both) => {
        if (isNeeded) await fetching.feed.ready(file.digest);
        if (runnable !== undefined) await intoEngine(runnable, archive, name, context, both);
      },
      record: async () => {
        if ((await store.stat(file.digest)) === undefined) return;
        const { config } = archive.image;
        const artifact = squashedArtifact(name, file, image.document.descriptor, config);
        await recordArtifact(store, artifact, signal);
      },
    };
  } catch (error) {
    await stopped(outcome, stop);
    throw error;
  }
}

/** What has arrived stays, should it be wanted another time. */
async function stopped(outcome: Promise<BlobOutcome>, stop: AbortController): Promise<void> {
  stop.abort(new QuayctlError('interrupted', 'the squashed image is not needed'));
  await outcome.catch(() => undefined);
}

/** What is in the archive must be for the platform that was asked for. Undefined where it goes into no engine. */
async function planRunnable(
  { image }: SquashedArchive,
  { platform, destination }: PullRequest,
  { engine, listener }: PullContext,
  signal: AbortSignal,
): Promise<RunnablePlan | undefined> {
  if (platform !== undefined) assertPlatform(image, platform);
  if (destination.kind !== 'engine') return undefined;
  if (engine === undefined) throw new QuayctlError('internal', 'a pull into an engine without one');
  if (platform === undefined) await warnOfPlatform(image, engine, { listener }, signal);
  return { image, presence: await engine.presence(image, signal) };
}

async function intoEngine(
  { image, presence }: RunnablePlan,
  archive: SquashedArchive,
  name: TaggedReference,
  { engine, store, listener }: PullContext,
  signal: AbortSignal,
): Promise<void> {
  listener({ kind: 'squashed-importing' });
  const feed = squashedFeed(archive, store, signal);
  await engine?.load(image, feed, { names: [name], recordDigest: false, presence, signal });
}
