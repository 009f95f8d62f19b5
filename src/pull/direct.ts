import type { Descriptor } from '../image/descriptor.ts';
import type { PartialBlob, Span } from '../store/blob-store.ts';
import type { FetchWorld } from './world.ts';

/** Network chunks are small (16 to 64 KiB); one write call for each would cost more than the copy. */
const WRITE_BYTES = 512 * 1024;

/** The spans of [0, size) that nobody has written yet, in order. */
export function gaps(size: number, written: readonly Span[]): Span[] {
  const missing: Span[] = [];
  let at = 0;
  for (const { start, end } of written) {
    if (start > at) missing.push({ start: at, end: start });
    at = end;
  }
  if (at < size) missing.push({ start: at, end: size });
  return missing;
}

/**
 * Fills what is missing of a blob from the registry alone, one ranged request for each gap. What has arrived
 * stays when the signal ends it: a swarm, or the next run, goes on from there.
 * @param onBytes called with the length of every chunk written
 * @throws what the repository and the store throw
 */
export async function fetchDirectly(
  partial: PartialBlob,
  descriptor: Descriptor,
  world: Pick<FetchWorld, 'repository' | 'downloadLimiter'>,
  onBytes: (length: number) => void,
  signal: AbortSignal,
): Promise<void> {
  for (const { start, end } of gaps(descriptor.size, partial.spans)) {
    let offset = start;
    const flush = async (chunks: Uint8Array[], length: number): Promise<void> => {
      const bytes =
        chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, length);
      await partial.write(offset, bytes);
      offset += length;
      onBytes(length);
    };
    let chunks: Uint8Array[] = [];
    let length = 0;
    try {
      for await (const chunk of world.repository.blob(descriptor, start, end, signal)) {
        await world.downloadLimiter.take(chunk.length, signal);
        chunks.push(chunk);
        length += chunk.length;
        if (length < WRITE_BYTES) continue;
        const full = chunks;
        chunks = [];
        await flush(full, length);
        length = 0;
      }
    } finally {
      if (length > 0) await flush(chunks, length);
    }
  }
}
