import type { RateLimiter } from '../base/rate-limiter.ts';
import type { PartialBlob, Span } from '../store/blob-store.ts';
import type { BlobSource } from './blob-source.ts';

/** Network chunks are small (16 to 64 KiB); one write call for each would cost more than the copy. */
const WRITE_BYTES = 512 * 1024;

/** The spans of [0, size) that are not written yet, in order. */
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

/** The same spans, cut at `from`; what lies before it comes last. */
export function beginningAt(from: number, spans: readonly Span[]): Span[] {
  const after = spans.map(({ start, end }) => ({ start: Math.max(start, from), end }));
  const before = spans.map(({ start, end }) => ({ start, end: Math.min(end, from) }));
  return [...after, ...before].filter(({ start, end }) => start < end);
}

/**
 * Fills what is missing of a blob from one source, with one range for each gap. What has arrived stays when the signal
 * ends it: a swarm, or the next run, continues from there.
 * @param from where to begin; what lies before it comes last
 * @param onBytes called with the length of every chunk written
 * @throws what the source and the store throw
 */
export async function fillGaps(
  partial: PartialBlob,
  source: BlobSource,
  limiter: RateLimiter,
  onBytes: (length: number) => void,
  signal: AbortSignal,
  from = 0,
): Promise<void> {
  for (const { start, end } of beginningAt(from, gaps(partial.size, partial.spans))) {
    let offset = start;
    let chunks: Uint8Array[] = [];
    let length = 0;
    const flush = async (): Promise<void> => {
      const bytes = Buffer.concat(chunks, length);
      [chunks, length] = [[], 0];
      await partial.write(offset, bytes);
      offset += bytes.length;
      onBytes(bytes.length);
    };
    try {
      for await (const chunk of source.open(partial.descriptor, start, end, signal)) {
        await limiter.take(chunk.length, signal);
        chunks.push(chunk);
        length += chunk.length;
        if (length >= WRITE_BYTES) await flush();
      }
    } finally {
      if (length > 0) await flush();
    }
  }
}
