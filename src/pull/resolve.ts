import { isQuayctlError } from '../base/errors.ts';
import { parseManifest } from '../image/manifest.ts';
import type { ManifestDocument, ResolvedImage } from '../image/manifest.ts';
import type { Platform } from '../image/platform.ts';
import type { ImageReference } from '../image/reference.ts';
import { chooseManifest } from '../image/walk-index.ts';
import type { Repository } from '../registry/repository.ts';
import type { PullContext } from './pull-context.ts';

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
  context: Pick<PullContext, 'repository' | 'torrents' | 'store' | 'listener'>,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  context.listener({ kind: 'resolving', reference });
  try {
    const image = await askFor(reference, platform, context.repository, signal);
    context.listener({ kind: 'resolved', image, offline: false });
    return image;
  } catch (error) {
    if (!offlineOk || !isQuayctlError(error, 'unreachable', 'rate-limited')) throw error;
    const stored = await context.store.findImage(reference, await platform);
    const image = stored ?? (await askService(reference, platform, context, signal));
    if (image === undefined) throw error;
    const source = stored === undefined ? 'the torrent service' : 'the store';
    context.listener({ kind: 'warning', message: `${error.message}; using what ${source} knows` });
    context.listener({ kind: 'resolved', image, offline: true });
    return image;
  }
}

/** What the service has kept of what it served; undefined where that is nothing, whatever the reason. */
async function askService(
  reference: ImageReference,
  platform: Promise<Platform>,
  { torrents, listener }: Pick<PullContext, 'torrents' | 'listener'>,
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

/** Without a word to anybody, and of this source alone. @throws QuayctlError as `resolveImage` */
export async function askFor(
  reference: ImageReference,
  platform: Promise<Platform>,
  source: Pick<Repository, 'manifest'>,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const selector = reference.digest ?? reference.tag ?? 'latest';
  const { index, innerIndex, document, manifest } = await chooseManifest(
    selector,
    () => platform,
    async (each) => {
      const found = await source.manifest(each, signal);
      return { ...found, parsed: parseManifest(found.bytes, found.descriptor.mediaType) };
    },
  );
  return {
    reference,
    document: documentOf(document),
    manifest,
    ...(index === undefined ? {} : { index: documentOf(index) }),
    ...(innerIndex === undefined ? {} : { innerIndex: documentOf(innerIndex) }),
  };
}

/** Without what was parsed: a resolved image is kept while a whole pull runs. */
function documentOf({ descriptor, bytes }: ManifestDocument): ManifestDocument {
  return { descriptor, bytes };
}
