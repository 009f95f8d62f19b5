import type { Span } from './blob-store.ts';

/** A set of byte positions as sorted, disjoint spans that do not touch. Pure. */
export class SpanSet {
  #spans: Span[] = [];
  #total = 0;

  get spans(): readonly Span[] {
    return this.#spans;
  }

  /** Sum of the spans, bytes. */
  get total(): number {
    return this.#total;
  }

  /** Where the span that begins at 0 ends; 0 where none does. */
  get prefix(): number {
    const first = this.#spans[0];
    return first?.start === 0 ? first.end : 0;
  }

  has(start: number, end: number): boolean {
    if (start >= end) return true;
    const span = this.#spans[this.#firstEndingAfter(start)];
    return span !== undefined && span.start <= start && end <= span.end;
  }

  overlaps(start: number, end: number): boolean {
    const span = this.#spans[this.#firstEndingAfter(start)];
    return span !== undefined && span.start < end;
  }

  /** Where the span ends that covers `position`; `position` itself where none does. */
  endOfRun(position: number): number {
    const span = this.#spans[this.#firstEndingAfter(position)];
    return span !== undefined && span.start <= position ? span.end : position;
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    // A span that ends exactly at start touches, so it is merged too.
    const from = this.#firstEndingAfter(start - 1);
    let to = from;
    let merged: Span = { start, end };
    for (let span = this.#spans[to]; span !== undefined && span.start <= end; span = this.#spans[++to]) {
      merged = { start: Math.min(merged.start, span.start), end: Math.max(merged.end, span.end) };
    }
    this.#replace(from, to, [merged]);
  }

  remove(start: number, end: number): void {
    if (start >= end) return;
    const from = this.#firstEndingAfter(start);
    let to = from;
    const left: Span[] = [];
    for (let span = this.#spans[to]; span !== undefined && span.start < end; span = this.#spans[++to]) {
      if (span.start < start) left.push({ start: span.start, end: start });
      if (span.end > end) left.push({ start: end, end: span.end });
    }
    this.#replace(from, to, left);
  }

  #replace(from: number, to: number, spans: Span[]): void {
    const removed = this.#spans.splice(from, to - from, ...spans);
    this.#total += length(spans) - length(removed);
  }

  /** Index of the first span with end > position (binary search); the number of spans where there is none. */
  #firstEndingAfter(position: number): number {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#spans[middle]?.end ?? 0) > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function length(spans: readonly Span[]): number {
  return spans.reduce((sum, { start, end }) => sum + end - start, 0);
}
