import { isQuayctlError } from '../../base/errors.ts';
import type { BlobSource } from '../../blobs/blob-source.ts';
import { readUpstreamBlob } from './upstream-blob.ts';
import type { Upstream } from './upstream.ts';

export interface UpstreamReaders {
  readonly upstream: Upstream;
  /** The upstream as the service itself may read it. */
  readonly own: Upstream;
}

/**
 * One repository of the upstream: as the service itself where that may read the blob, else with what the caller showed,
 * which is kept nowhere. A blob that the service may not read and that has no caller fails with what the service got.
 * @param onCaller told when it comes to that
 */
export function upstreamSource(
  { own, upstream }: UpstreamReaders,
  repository: string,
  authorization: string | undefined,
  onCaller: () => void,
): BlobSource {
  return {
    async *open({ digest, size }, start, end, signal) {
      const request = { repository, digest, size, start, end };
      let begun = false;
      try {
        for await (const chunk of readUpstreamBlob(own, request, signal)) {
          begun = true;
          yield chunk;
        }
      } catch (error) {
        const isRefused = isQuayctlError(error, 'unauthorized', 'not-found');
        if (begun || authorization === undefined || !isRefused) throw error;
        onCaller();
        yield* readUpstreamBlob(upstream, { ...request, authorization }, signal);
      }
    },
  };
}
