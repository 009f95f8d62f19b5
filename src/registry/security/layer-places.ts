import { isQuayctlError, QuayctlError } from '../../base/errors.ts';
import { delay } from '../../base/retry.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { shortDigest, type Digest } from '../../image/digest.ts';
import { decodeTorrent } from '../../metainfo/metainfo.ts';
import { openRepository, type RegistryAccess } from '../open-repository.ts';
import type { TorrentService } from '../repository.ts';
import type { ClairLayer } from './clair.ts';

/** How long the torrent service may hold its answer while it hashes a layer. Seconds. */
const HASHING_WAIT = 30;

/**
 * Where Clair may fetch the layers of an image that everybody may pull: at the registry, as somebody without a name.
 * The token that goes with it is what the registry gives to anybody who asks.
 * @returns undefined for an image that is not for everybody
 */
export async function publicLayers(
  access: RegistryAccess,
  name: string,
  manifest: Digest,
  layers: readonly Descriptor[],
  signal: AbortSignal,
): Promise<readonly ClairLayer[] | undefined> {
  const { authorizer, ...repository } = openRepository({ ...access, credential: undefined }, name);
  try {
    await repository.manifest(manifest, signal);
  } catch (error) {
    // Registries that do not tell strangers what there is answer 404.
    if (isQuayctlError(error, 'unauthorized', 'not-found')) return undefined;
    throw error;
  }
  const base = await repository.requester.base(signal);
  const token = await authorizer.header(base, signal);
  const headers: Record<string, readonly string[]> = token === undefined ? {} : { Authorization: [token] };
  return unique(layers).map(({ digest }) => ({
    digest,
    url: new URL(`/v2/${name}/blobs/${digest}`, base).href,
    headers,
  }));
}

/**
 * Where Clair may fetch the layers of an image that is not for everybody: the signed web seeds in the torrents that a
 * torrent service gives to those who may pull. Each is good for one layer and for an hour.
 * @throws QuayctlError `no-report` for a layer without one, and what asking for torrents throws
 */
export async function webSeedLayers(
  torrents: Pick<TorrentService, 'torrent'>,
  layers: readonly Descriptor[],
  signal: AbortSignal,
): Promise<readonly ClairLayer[]> {
  const places: ClairLayer[] = [];
  for (const layer of unique(layers)) {
    places.push({ digest: layer.digest, url: await webSeedOf(torrents, layer, signal), headers: {} });
  }
  return places;
}

async function webSeedOf(
  torrents: Pick<TorrentService, 'torrent'>,
  layer: Descriptor,
  signal: AbortSignal,
): Promise<string> {
  let answer = await torrents.torrent(layer, HASHING_WAIT, signal);
  while (answer.kind === 'hashing') {
    await delay(answer.retryAfterSeconds * 1000, signal);
    answer = await torrents.torrent(layer, HASHING_WAIT, signal);
  }
  const reason = answer.kind === 'none' ? answer.reason : 'the torrent service may not read it itself';
  const [url] = answer.kind === 'torrent' ? decodeTorrent(answer.bytes).urlList : [];
  if (url !== undefined) return url;
  throw new QuayctlError('no-report', `no signed URL for layer ${shortDigest(layer.digest)}: ${reason}`);
}

/** Clair takes a layer once, though an image may have it twice; the order is the image's. */
function unique(layers: readonly Descriptor[]): readonly Descriptor[] {
  return [...new Map(layers.map((layer) => [layer.digest, layer])).values()];
}
