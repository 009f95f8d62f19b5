import { isQuayctlError } from '../base/errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Repository } from '../registry/repository.ts';
import type { Patience } from '../registry/resuming.ts';
import type { BlobStore } from '../store/blob-store.ts';

const CHUNK_BYTES = 256 * 1024;

/** A place that blobs can be read from: a registry, a torrent service, the store, a download that is under way. */
export interface BlobSource {
  /**
   * Bytes `start` to `end` (exclusive) of the blob, in order, never more and never fewer. A source outside of this
   * machine may send wrong bytes: only the store and a BlobDownload give verified ones.
   * @param patience how long a registry may take; shorter where peers have the bytes, too
   * @throws QuayctlError as the place; the signal's reason
   */
  open(
    blob: Descriptor,
    start: number,
    end: number,
    signal: AbortSignal,
    patience?: Patience,
  ): AsyncIterable<Uint8Array>;
}

/** One repository of a registry. Retries, and resumes where a transfer breaks. */
export function registrySource(repository: Pick<Repository, 'blob'>): BlobSource {
  return {
    open: (blob, start, end, signal, patience) => repository.blob(blob, start, end, signal, patience),
  };
}

/** Committed blobs. @throws QuayctlError `not-found`, `store` */
export function storeSource(store: Pick<BlobStore, 'open'>): BlobSource {
  return {
    async *open({ digest }, start, end, signal) {
      const reader = await store.open(digest);
      try {
        for (let at = start; at < end; at += CHUNK_BYTES) {
          signal.throwIfAborted();
          yield await reader.read(at, Math.min(CHUNK_BYTES, end - at));
        }
      } finally {
        await reader.close();
      }
    },
  };
}

/**
 * Reads from `nearer`, and what that does not give from `other`.
 * @param onLost told what went wrong at `nearer`; it is not asked again by this range
 */
export function nearestSource(
  nearer: BlobSource,
  other: BlobSource,
  onLost: (error: unknown) => void,
): BlobSource {
  return {
    async *open(blob, start, end, signal, patience) {
      let at = start;
      try {
        for await (const chunk of nearer.open(blob, start, end, signal, patience)) {
          at += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (!isQuayctlError(error)) throw error;
        onLost(error);
      }
      yield* other.open(blob, at, end, signal, patience);
    },
  };
}
