import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SpanSet } from '../../src/store/spans.ts';

const SIZE = 64;

test('a set of spans says what a row of bits would say', () => {
  let seed = 1;
  const random = (below: number): number => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let round = 0; round < 200; round++) {
    const set = new SpanSet();
    const bits = Array.from({ length: SIZE }, () => false);
    for (let step = 0; step < 30; step++) {
      const start = random(SIZE);
      const end = start + random(SIZE - start + 1);
      if (random(3) > 0) {
        set.add(start, end);
        bits.fill(true, start, end);
      } else {
        set.remove(start, end);
        bits.fill(false, start, end);
      }
      assert.deepEqual(set.spans, spansOf(bits));
      assert.equal(set.total, bits.filter(Boolean).length);
      const gap = bits.indexOf(false);
      assert.equal(set.prefix, gap < 0 ? SIZE : gap);
      const [from, to] = [random(SIZE), random(SIZE + 1)];
      const asked = bits.slice(from, Math.max(from, to));
      assert.equal(set.has(from, to), asked.every(Boolean));
      if (from < to) assert.equal(set.overlaps(from, to), asked.some(Boolean));
    }
  }
});

function spansOf(bits: readonly boolean[]): { start: number; end: number }[] {
  const spans: { start: number; end: number }[] = [];
  for (const [at, bit] of bits.entries()) {
    const last = spans.at(-1);
    if (bit && last?.end === at) last.end++;
    else if (bit) spans.push({ start: at, end: at + 1 });
  }
  return spans;
}
