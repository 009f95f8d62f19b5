import type { Descriptor } from '../image/descriptor.ts';
import { seedAfterPull, shrinkStore } from './after-pull.ts';
import { startFetching } from './fetch-blobs.ts';
import { passGate, type GatedPull } from './gate.ts';
import type { ImageKind, PullPlan } from './image-kind.ts';
import type { SharedServices } from './pull-context.ts';
import { makeReceipt, type Receipt } from './receipt.ts';
import { peerUseOf, type PeerUse } from '../blobs/peer-use.ts';
import type { BlobOutcome } from '../blobs/transfer-ledger.ts';
import type { Digest } from '../image/digest.ts';
import type { PullRequest } from './request.ts';

/** A torrent service that no blob waited for is waited for this long at the end. Milliseconds. */
const LONGEST_ANSWER_MS = 1000;

interface Request extends Pick<PullRequest, 'onReceipt' | 'seedMs' | 'gate'> {
  /** Where the image goes, in the receipt; `none` for the store. */
  readonly engineName: string;
}

/**
 * One pull of whatever kind, step by step; each step takes what the one before it made. A seed is a pull into the store.
 * @throws QuayctlError of every code; what has arrived by then stays in the store for the next run
 */
export async function runPull<Resolved>(
  kind: ImageKind<Resolved>,
  request: Request,
  services: SharedServices,
  signal: AbortSignal,
): Promise<Receipt> {
  const { store, downloads, listener } = services;
  const startedAt = performance.now();
  const resolved = await kind.resolve(signal);
  const blobs = kind.blobs(resolved);
  const digests = blobs.map(({ digest }) => digest);
  // No garbage collection of another process takes what this one is about to need.
  const lease = await store.lease(digests);
  try {
    const plan = await kind.plan(resolved, signal);
    await store.assertRoom(plan.fetch);
    listener({ kind: 'planned', blobs: plan.fetch, inEngine: plan.settled.size });
    const { gate } = request;
    const gated = gate === undefined ? undefined : { gate, image: kind.gated(resolved) };
    const outcomes = await fetchAndDeliver(plan, gated, services, signal);
    await plan.record(signal);
    const p2p = await peerUse(plan, outcomes, signal);
    const receipt = makeReceipt({
      ...plan,
      image: plan.name,
      engine: request.engineName,
      outcomes,
      p2p,
      uploaded: downloads.seeds.totals(digests).uploaded,
      seconds: (performance.now() - startedAt) / 1000,
    });
    await request.onReceipt(receipt);
    await shrinkStore(services);
    await seedAfterPull(await held(blobs, services), plan.origin, request.seedMs, services, signal);
    return receipt;
  } finally {
    await lease.close();
  }
}

/** Delivery runs beside the downloads, once the gate, if there is one, has let the image pass. Whichever fails first is what the user is told. */
async function fetchAndDeliver(
  plan: PullPlan,
  gated: GatedPull | undefined,
  services: SharedServices,
  signal: AbortSignal,
): Promise<ReadonlyMap<Digest, BlobOutcome>> {
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const fetching = startFetching(plan, services, both);
  try {
    if (gated !== undefined) await passGate(gated, fetching.done, both);
    await plan.deliver(fetching, both);
  } catch (error) {
    // When the engine has failed, the rest is not needed. When a blob has failed, the others are kept for the next run.
    if (!fetching.failed()) stop.abort(error);
    await fetching.done.catch(() => undefined);
    throw error;
  }
  await fetching.done;
  return new Map([...plan.settled, ...fetching.outcomes]);
}

/** How peers were used; what the user can do something about is told, once. */
async function peerUse(
  { origin: { torrents } }: PullPlan,
  outcomes: ReadonlyMap<Digest, BlobOutcome>,
  signal: AbortSignal,
): Promise<PeerUse> {
  const wasFetched = [...outcomes.values()].some(({ fromRegistry }) => fromRegistry > 0);
  if (wasFetched && torrents.isGiven) await torrents.firstAnswer(LONGEST_ANSWER_MS, signal);
  const use = peerUseOf(outcomes.values(), torrents.obstacle);
  if (use === torrents.obstacle) torrents.tellObstacle();
  else if (use.hint !== undefined) torrents.warn(use);
  return { state: use.state, reason: use.reason };
}

/** What the engine had was not downloaded, and cannot be seeded. */
async function held(blobs: readonly Descriptor[], { store }: SharedServices): Promise<Descriptor[]> {
  const sizes = await Promise.all(blobs.map(({ digest }) => store.stat(digest)));
  return blobs.filter(({ size }, at) => sizes[at] === size);
}
