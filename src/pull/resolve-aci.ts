import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { askUntilMade } from '../blobs/ask-until-made.ts';
import { aciDescriptor, aciOfArtifact, aciReference, platformOf, type AciImage } from '../image/aci.ts';
import { formatAppcName, type AppcName } from '../image/appc-name.ts';
import { appcPlatform } from '../image/appc-platform.ts';
import { decodeTorrent } from '../metainfo/metainfo.ts';
import type { AciSource } from '../registry/aci-source.ts';
import type { TorrentAnswer } from '../registry/repository.ts';
import type { AciRequest, AciContext } from './aci-request.ts';

/** How long the service may hold its answer while it makes the image; progress is to be seen meanwhile. */
const WAIT_SECONDS = 5;

/** An ACI that is known by digest, and where its bytes are. */
export interface ResolvedAci {
  readonly image: AciImage;
  readonly source: AciSource;
}

/**
 * AppcName -> ResolvedAci. What the manifest is for a Docker image, the torrent is here: it states digest, size and
 * image ID. Whether they are the right ones is the signature's to say.
 * @throws QuayctlError `not-found`, `unauthorized`, `unreachable`, `no-torrent`, `unsupported`
 */
export async function resolveAci(
  request: AciRequest,
  context: AciContext,
  signal: AbortSignal,
): Promise<ResolvedAci> {
  const name = await withPlatform(request, context, signal);
  context.listener({ kind: 'discovering', name: formatAppcName(name) });
  try {
    const source = await context.locate(name, signal);
    context.listener({ kind: 'asking-torrent' });
    const answer = await whenMade(source, context, signal);
    return { image: imageOf(name, source, answer), source: withFirst(source, answer) };
  } catch (error) {
    if (!request.rules.offlineOk || !isQuayctlError(error, 'unreachable', 'rate-limited')) throw error;
    const image = await knownAci(name, context);
    if (image === undefined) throw error;
    context.listener({ kind: 'warning', message: `${error.message}; using what the store knows` });
    return { image, source: gone(error) };
  }
}

/** rkt asks for its own platform where no label says another. */
async function withPlatform(
  { name, destination, platform, hostPlatform }: AciRequest,
  { engine }: AciContext,
  signal: AbortSignal,
): Promise<AppcName> {
  const asked = engine.platform(signal);
  // A seed puts nothing into rkt, and does not need it.
  const engines = await (destination === 'engine' ? asked : asked.catch(() => undefined));
  return { ...name, labels: { ...appcPlatform(platform ?? engines ?? hostPlatform), ...name.labels } };
}

async function whenMade(
  source: AciSource,
  { listener }: AciContext,
  signal: AbortSignal,
): Promise<TorrentAnswer> {
  const first = await source.torrent(0, signal);
  const ask = (): Promise<TorrentAnswer> => source.torrent(WAIT_SECONDS, signal);
  return askUntilMade(
    ask,
    signal,
    ({ size, hashed: done, etaSeconds }) => listener({ kind: 'making', size, done, etaSeconds }),
    first,
  );
}

function imageOf(name: AppcName, source: AciSource, answer: TorrentAnswer): AciImage {
  const what = formatAppcName(name);
  if (answer.kind !== 'torrent') {
    const reason = answer.kind === 'none' ? `: ${answer.reason}` : '';
    throw new QuayctlError('no-torrent', `no torrent of ${what}${reason}`, {
      hint: `\`rkt fetch ${what}\` gets it from there without BitTorrent`,
    });
  }
  const { digest, imageId, manifest, geometry } = decodeTorrent(answer.bytes);
  if (digest === undefined) {
    throw new QuayctlError(
      'unsupported',
      `the torrent of ${what} at ${source.host} does not say what it is of`,
    );
  }
  const aci = aciDescriptor({ digest, size: geometry.length });
  return {
    name,
    aci,
    ...(imageId === undefined ? {} : { imageId }),
    ...(manifest === undefined ? {} : { manifest }),
  };
}

/** The torrent that has come already is not asked for again at once. */
function withFirst(source: AciSource, first: TorrentAnswer): AciSource {
  let unused: TorrentAnswer | undefined = first;
  return {
    host: source.host,
    serviceKeys: source.serviceKeys.bind(source),
    report: source.report.bind(source),
    blob: source.blob.bind(source),
    signature: source.signature.bind(source),
    torrent: async (waitSeconds, signal) => {
      const answer = unused ?? (await source.torrent(waitSeconds, signal));
      unused = undefined;
      return answer;
    },
  };
}

async function knownAci(name: AppcName, { store }: AciContext): Promise<AciImage | undefined> {
  const reference = aciReference(name);
  const stored = reference === undefined ? undefined : await store.findImage(reference, platformOf(name));
  return stored === undefined ? undefined : aciOfArtifact(name, stored);
}

/** A place that did not answer; what is missing may still be had from peers. */
function gone(reason: QuayctlError): AciSource {
  const fail = (): Promise<never> => Promise.reject(reason);
  return {
    host: '',
    torrent: fail,
    serviceKeys: fail,
    report: fail,
    signature: fail,
    // eslint-disable-next-line require-yield
    async *blob() {
      throw reason;
    },
  };
}
