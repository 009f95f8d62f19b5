/** The part of `size` bytes that a Range header asks for; `end` is exclusive. */
export type WantedRange =
  | { readonly kind: 'all' }
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' };

/**
 * RFC 9110 section 14.1.2. A header that is no byte range is ignored, as the RFC wants. Several ranges in one
 * request are refused: no client of blobs needs them, and overlapping ones multiply the work of one request.
 */
export function wantedRange(header: string | undefined, size: number): WantedRange {
  if (header === undefined) return { kind: 'all' };
  if (/^bytes=[^,]*,/.test(header)) return { kind: 'unsatisfiable' };
  const [, first, last] = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(header.trim()) ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return { kind: 'all' };
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return { kind: 'all' };
  return start >= end ? { kind: 'unsatisfiable' } : { kind: 'part', start, end };
}

/** Value of Content-Range for a part of `size` bytes. */
export function contentRange({ start, end }: { start: number; end: number }, size: number): string {
  return `bytes ${start}-${end - 1}/${size}`;
}
