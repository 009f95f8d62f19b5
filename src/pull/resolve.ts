import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { parseManifest } from '../image/manifest.ts';
import type { ImageIndex, ImageManifest, ManifestDocument, ResolvedImage } from '../image/manifest.ts';
import { choosePlatform, type Platform } from '../image/platform.ts';
import { formatReference, type ImageReference } from '../image/reference.ts';
import type { Repository } from '../registry/repository.ts';
import type { World } from './world.ts';

/**
 * ImageReference -> ResolvedImage: index, platform, manifest; every digest on the way is checked by the
 * repository. With `offlineOk` a registry that does not answer is replaced by what the store remembers, else by what
 * the torrent service has kept.
 * @throws QuayctlError `not-found`, `unauthorized`, `unreachable`, `verification`, `unsupported`, ...
 */
export async function resolveImage(
  reference: ImageReference,
  platform: Promise<Platform>,
  offlineOk: boolean,
  world: Pick<World, 'repository' | 'torrents' | 'store' | 'listener'>,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  world.listener({ kind: 'resolving', reference });
  try {
    const image = await askFor(reference, platform, world.repository, signal);
    world.listener({ kind: 'resolved', image, offline: false });
    return image;
  } catch (error) {
    if (!offlineOk || !isQuayctlError(error, 'unreachable', 'rate-limited')) throw error;
    const stored = await world.store.findImage(reference, await platform);
    const image = stored ?? (await askService(reference, platform, world, signal));
    if (image === undefined) throw error;
    const source = stored === undefined ? 'the torrent service' : 'the store';
    world.listener({ kind: 'warning', message: `${error.message}; using what ${source} knows` });
    world.listener({ kind: 'resolved', image, offline: true });
    return image;
  }
}

/** What the service has kept of what it served; undefined where that is nothing, whatever the reason. */
async function askService(
  reference: ImageReference,
  platform: Promise<Platform>,
  { torrents, listener }: Pick<World, 'torrents' | 'listener'>,
  signal: AbortSignal,
): Promise<ResolvedImage | undefined> {
  try {
    return await askFor(reference, platform, torrents, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!isQuayctlError(error)) throw error;
    listener({ kind: 'debug', message: error.message });
    return undefined;
  }
}

async function askFor(
  reference: ImageReference,
  platform: Promise<Platform>,
  source: Pick<Repository, 'manifest'>,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const selector = reference.digest ?? reference.tag ?? 'latest';
  let document = await source.manifest(selector, signal);
  let parsed = parse(document);
  let index: ManifestDocument | undefined;
  // An index may name an index (OCI image-spec allows it, registries hold some); deeper than that is a maze.
  for (let depth = 0; parsed.kind === 'index' && depth < 2; depth++) {
    index ??= document;
    const chosen = choosePlatform(parsed.manifests, await platform);
    document = await source.manifest(chosen.digest, signal);
    parsed = parse(document);
  }
  if (parsed.kind === 'index') {
    throw new QuayctlError(
      'unsupported',
      `${formatReference(reference)}: an index within an index within an index`,
    );
  }
  return { reference, document, manifest: parsed, ...(index === undefined ? {} : { index }) };
}

function parse(document: ManifestDocument): ImageManifest | ImageIndex {
  return parseManifest(document.bytes, document.descriptor.mediaType);
}
