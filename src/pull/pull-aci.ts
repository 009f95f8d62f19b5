import { QuayctlError } from '../base/errors.ts';
import type { BlobOrigin, FetchRules } from '../blobs/blob-origin.ts';
import { TorrentFinder } from '../blobs/torrent-finder.ts';
import type { EnginePresence } from '../engines/engine.ts';
import { aciArtifact, aciReference, signatureDescriptor, type AciImage } from '../image/aci.ts';
import { formatAppcName, type AppcName } from '../image/appc-name.ts';
import type { AciSource } from '../registry/aci-source.ts';
import type { AciContext, AciRequest } from './aci-request.ts';
import type { GatedImage } from './gate.ts';
import { inEngine, type Fetching, type ImageKind, type PullPlan } from './image-kind.ts';
import type { SharedServices } from './pull-context.ts';
import { putBlob, recordArtifact } from './put-blob.ts';
import type { Receipt } from './receipt.ts';
import { resolveAci, type ResolvedAci } from './resolve-aci.ts';
import { runPull } from './run-pull.ts';

/**
 * An appc image name goes in; the ACI comes out in rkt, or in the store, and is seeded for as long as was asked. The
 * torrent stands for the manifest, the one ACI for all layers.
 * @throws QuayctlError of every code; what has arrived by then stays in the store for the next run
 */
export function pullAci(request: AciRequest, context: AciContext, signal: AbortSignal): Promise<Receipt> {
  const kind: ImageKind<ResolvedAci> = {
    resolve: () => resolveAci(request, context, signal),
    blobs: ({ image }) => [image.aci],
    gated: ({ image }) => gatedAci(image, request),
    plan: (resolved) => planAci(resolved, request, context, signal),
  };
  const engineName = request.destination === 'engine' ? context.engine.name : 'none';
  return runPull(kind, { ...request, engineName }, context, signal);
}

/**
 * The image that an ACI was made of, which is what security reports are about.
 * @throws QuayctlError `no-report` where the torrent did not say
 */
function gatedAci({ manifest }: AciImage, { name }: AciRequest): GatedImage {
  if (manifest !== undefined) {
    return { name: formatAppcName(withVersion(name)), digest: manifest, manifest: undefined };
  }
  throw new QuayctlError(
    'no-report',
    'the torrent of this ACI does not say which image it was made of, so there is no security report of it',
    {
      hint: 'a torrent service of this version of quayctl says it; without --max-severity the image is pulled unchecked',
    },
  );
}

/** `latest` is what rkt takes where no version is named. */
export function withVersion({ name, labels }: AppcName): AppcName {
  return { name, labels: { version: 'latest', ...labels } };
}

/** An ACI's source as a repository with one blob. */
export function aciOrigin(
  source: AciSource,
  services: Pick<SharedServices, 'store' | 'listener'>,
  rules: FetchRules,
): BlobOrigin {
  const torrents = new TorrentFinder({
    ...services,
    torrents: {
      torrent: (_, waitSeconds, signal) => source.torrent(waitSeconds, signal),
      serviceKeys: (kid, signal) => source.serviceKeys(kid, signal),
      report: (token, report, signal) => source.report(token, report, signal),
    },
  });
  return {
    source: { open: (aci, start, end, signal) => source.blob(aci, start, end, signal) },
    torrents,
    rules,
  };
}

async function planAci(
  resolved: ResolvedAci,
  request: AciRequest,
  context: AciContext,
  signal: AbortSignal,
): Promise<PullPlan> {
  const { aci } = resolved.image;
  const presence = await presenceOf(resolved.image, request, context, signal);
  const image = presence.image ? resolved.image : await withSignature(resolved, request, context, signal);
  return {
    name: formatAppcName(withVersion(request.name)),
    digest: aci.digest,
    layers: [aci],
    // rkt checks the signature of what goes into it, unless it was told not to.
    ...(request.withSignature && request.destination === 'engine' ? {} : { vouchedBy: 'service' as const }),
    origin: aciOrigin(resolved.source, context, request.rules),
    fetch: presence.image ? [] : [aci],
    settled: inEngine(presence.image ? [aci] : []),
    deliver: (fetching, both) => deliver(image, presence, fetching, request, context, both),
    record: async () => {
      if (!presence.image) await record(image, context, signal);
    },
  };
}

/** A seed needs the bytes, whatever rkt has. */
async function presenceOf(
  image: AciImage,
  { destination }: AciRequest,
  { engine, listener }: AciContext,
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
  { store }: AciContext,
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
  { engine, listener }: AciContext,
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

async function record(image: AciImage, { store }: AciContext, signal: AbortSignal): Promise<void> {
  const reference = aciReference(image.name);
  if (reference !== undefined) await recordArtifact(store, aciArtifact(image, reference), signal);
}
