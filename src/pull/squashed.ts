import { QuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { unrunnableReason, type ResolvedImage } from '../image/manifest.ts';
import { formatReference, type TaggedReference } from '../image/reference.ts';
import { squashedTag } from '../image/squashed.ts';
import { fetchBlob, type BlobTools } from './fetch-blob.ts';
import { giveOn, shrinkStore } from './finish.ts';
import { Pace } from './ledger.ts';
import { warnOfPlatform } from './plan.ts';
import { resolveFor } from './pull.ts';
import { makeReceipt, type Receipt } from './receipt.ts';
import type { PullRequest } from './request.ts';
import { Seeds } from './seeds.ts';
import { assertPlatform } from './single-platform.ts';
import { openSquashed } from './squashed-archive.ts';
import { SquashedSource } from './squashed-source.ts';
import { TorrentFinder } from './torrents.ts';
import type { World } from './world.ts';

/**
 * The same road as `pull`, for one file in place of all layers: the service makes it, its torrent says what it must
 * hash to, and it comes, is verified, kept and given on as a blob is.
 * @throws QuayctlError `no-torrent` where no service makes squashed images; every other code
 */
export async function pullSquashed(
  request: PullRequest,
  world: World,
  signal: AbortSignal,
): Promise<Receipt> {
  const started = performance.now();
  const seeds = new Seeds();
  const pace = new Pace();
  const { rules } = request;
  const image = await resolveFor(request, world, signal);
  const tools: BlobTools = { world, rules, finder: new TorrentFinder(world), seeds, pace };
  const reason = unrunnableReason(image.manifest);
  if (reason !== undefined)
    throw new QuayctlError(
      'unsupported',
      `${formatReference(image.reference)} is no container image: ${reason}`,
    );
  const source = new SquashedSource(world, image.document.descriptor.digest);
  const file = await source.file(signal);
  const lease = await world.store.lease([file.digest]);
  try {
    const derived = source.worldOf(file);
    const derivedTools: BlobTools = { ...tools, world: derived, finder: new TorrentFinder(derived) };
    world.listener({ kind: 'squashed-starting' });
    world.listener({ kind: 'planned', blobs: [file], inEngine: 0 });
    const outcome = await fetchBlob(file, derivedTools, signal);
    world.listener({ kind: 'completed', digest: file.digest, outcome });
    const name = squashedReference(image);
    await deliver(file, name, request, world, signal);
    const receipt = makeReceipt({
      image: formatReference(name),
      digest: image.document.descriptor.digest,
      index: image.index?.descriptor.digest,
      engine: request.destination.kind === 'engine' ? (world.engine?.name ?? 'none') : 'none',
      layers: [file],
      outcomes: new Map([[file.digest, outcome]]),
      uploaded: seeds.uploaded,
      seconds: (performance.now() - started) / 1000,
    });
    request.onReceipt(receipt);
    await shrinkStore(world);
    await giveOn([file], request, derivedTools, signal);
    return receipt;
  } finally {
    await seeds.close();
    await lease.close();
  }
}

/** `NAME:TAG.squash`; pulled by digest, `NAME:sha256-<12 hex>.squash` of that digest. */
function squashedReference({ reference, document }: ResolvedImage): TaggedReference {
  const { registry, repository, tag, digest } = reference;
  return { registry, repository, tag: squashedTag(tag, digest ?? document.descriptor.digest) };
}

/** What is in the archive must be for the platform that was asked for; then it goes where it was to go. */
async function deliver(
  file: Descriptor,
  name: TaggedReference,
  { platform, destination }: PullRequest,
  world: World,
  signal: AbortSignal,
): Promise<void> {
  const { engine, store, listener } = world;
  const archive = await openSquashed(file, name, store);
  if (platform !== undefined) assertPlatform(archive.image, platform);
  if (destination.kind !== 'engine') return;
  if (engine === undefined) throw new QuayctlError('internal', 'a pull into an engine without one');
  if (platform === undefined) await warnOfPlatform(archive.image, engine, world, signal);
  listener({ kind: 'squashed-importing' });
  const presence = await engine.presence(archive.image, signal);
  await engine.load(archive.image, archive.feed, { names: [name], recordDigest: false, presence, signal });
}
