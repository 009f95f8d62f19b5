import type { ServeListener } from '../events.ts';
import type { TorrentServiceOptions } from '../options.ts';
import { LayoutUpstream } from '../upstream/layout-upstream.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { BlobCache } from './blob-cache.ts';

/** The cache of a service. A layout is on this machine already; a disk that cannot be used costs the cache alone. */
export async function openBlobCache(
  { dataDirectory, cacheBytes }: Pick<TorrentServiceOptions, 'dataDirectory' | 'cacheBytes'>,
  upstream: Upstream,
  listener: ServeListener,
): Promise<BlobCache> {
  const limit = upstream instanceof LayoutUpstream ? 0 : cacheBytes;
  try {
    return await BlobCache.open(dataDirectory, limit);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    listener({ kind: 'warning', message: `no blob is cached: ${reason}` });
    return BlobCache.none();
  }
}
