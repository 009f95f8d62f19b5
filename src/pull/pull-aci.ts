import { aciArtifact, aciReference, signatureDescriptor, type AciImage } from '../image/aci.ts';
import { formatAppcName, type AppcName } from '../image/appc-name.ts';
import type { EnginePresence } from '../engines/engine.ts';
import type { AciSource } from '../registry/aci-source.ts';
import type { AciRequest, AciWorld } from './aci-request.ts';
import { fetchAndDeliver } from './fetch-and-deliver.ts';
import type { BlobTools } from './fetch-blob.ts';
import type { Fetching } from './fetch.ts';
import { giveOn, shrinkStore } from './finish.ts';
import { putBlob } from './put-blob.ts';
import { Pace } from './ledger.ts';
import { makeReceipt, NOTHING, type Receipt } from './receipt.ts';
import { resolveAci, type ResolvedAci } from './resolve-aci.ts';
import { Seeds } from './seeds.ts';
import { TorrentFinder } from './torrents.ts';
import type { FetchWorld } from './world.ts';

/**
 * An appc image name goes in; the ACI comes out in rkt, or in the store, and is given to others for as long as was
 * asked. The steps are those of `pull`: the torrent stands for the manifest, the one ACI for all layers.
 * @throws QuayctlError of every code; what has arrived by then stays in the store for the next run
 */
export async function pullAci(request: AciRequest, world: AciWorld, signal: AbortSignal): Promise<Receipt> {
  const started = performance.now();
  const seeds = new Seeds();
  const resolved = await resolveAci(request, world, signal);
  const fetchWorld = worldOfAci(resolved.source, world);
  const finder = new TorrentFinder(fetchWorld);
  const tools: BlobTools = { world: fetchWorld, rules: request.rules, finder, seeds, pace: new Pace() };
  const { aci } = resolved.image;
  const lease = await world.store.lease([aci.digest]);
  try {
    const presence = await presenceOf(resolved.image, request, world, signal);
    world.listener({ kind: 'planned', blobs: presence.image ? [] : [aci], inEngine: Number(presence.image) });
    const image = presence.image ? resolved.image : await withSignature(resolved, request, world, signal);
    const plan = {
      fetch: presence.image ? [] : [aci],
      settled: new Map(presence.image ? [[aci.digest, { ...NOTHING, alreadyInEngine: aci.size }]] : []),
    };
    const outcomes = await fetchAndDeliver(plan, tools, signal, (fetching, both) =>
      deliver(image, presence, fetching, request, world, both),
    );
    if (!presence.image) await record(image, world, signal);
    const receipt = makeReceipt({
      image: formatAppcName(withVersion(request.name)),
      digest: aci.digest,
      engine: request.destination === 'engine' ? world.engine.name : 'none',
      layers: [aci],
      outcomes,
      uploaded: seeds.uploaded,
      seconds: (performance.now() - started) / 1000,
    });
    request.onReceipt(receipt);
    await shrinkStore(world);
    await giveOn((await world.store.stat(aci.digest)) === undefined ? [] : [aci], request, tools, signal);
    return receipt;
  } finally {
    await seeds.close();
    await lease.close();
  }
}

/** `latest` is what rkt takes where no version is named. */
export function withVersion({ name, labels }: AppcName): AppcName {
  return { name, labels: { version: 'latest', ...labels } };
}

/** To the rest of the room the source is a repository with one blob. */
export function worldOfAci(
  source: AciSource,
  commons: Omit<FetchWorld, 'repository' | 'torrents'>,
): FetchWorld {
  return {
    ...commons,
    repository: { blob: (aci, start, end, signal) => source.blob(aci, start, end, signal) },
    torrents: { torrent: (_, waitSeconds, signal) => source.torrent(waitSeconds, signal) },
  };
}

/** A seed needs the bytes, whatever rkt has. */
async function presenceOf(
  image: AciImage,
  { destination }: AciRequest,
  { engine, listener }: AciWorld,
  signal: AbortSignal,
): Promise<EnginePresence> {
  if (destination === 'store') return { image: false, layers: [false] };
  listener({ kind: 'connecting', engine: engine.name });
  return engine.presence(image, signal);
}

/** The signature lies in the store beside the ACI, so that an image can be taken into rkt again offline. */
async function withSignature(
  { image, source }: ResolvedAci,
  request: AciRequest,
  { store }: AciWorld,
  signal: AbortSignal,
): Promise<AciImage> {
  if (!request.withSignature || image.signature !== undefined) return image;
  const bytes = await source.signature(signal);
  const signature = signatureDescriptor(bytes);
  await putBlob(store, signature, bytes, signal);
  return { ...image, signature };
}

async function deliver(
  image: AciImage,
  presence: EnginePresence,
  { feed, done }: Fetching,
  { destination }: AciRequest,
  { engine, listener }: AciWorld,
  signal: AbortSignal,
): Promise<void> {
  if (destination === 'store') return done;
  // rkt wants the whole file: it is not told to load before that is here.
  if (!presence.image) await feed.ready(image.aci.digest);
  listener({ kind: 'loading', engine: engine.name });
  await engine.load(image, feed, {
    names: [],
    recordDigest: false,
    presence,
    signal,
    onMessage: (line) => listener({ kind: 'engine-says', line }),
  });
}

async function record(image: AciImage, { store }: AciWorld, signal: AbortSignal): Promise<void> {
  const reference = aciReference(image.name);
  if (reference === undefined) return;
  const artifact = aciArtifact(image, reference);
  await putBlob(store, artifact.image.manifest.config, artifact.config, signal);
  await store.recordImage(artifact.image);
}
