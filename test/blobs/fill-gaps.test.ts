import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginningAt, gaps } from '../../src/blobs/fill-gaps.ts';

const span = (start: number, end: number) => ({ start, end });

for (const { name, size, written, missing } of [
  { name: 'nothing is written', size: 10, written: [], missing: [span(0, 10)] },
  { name: 'everything is written', size: 10, written: [span(0, 10)], missing: [] },
  { name: 'the head is written', size: 10, written: [span(0, 4)], missing: [span(4, 10)] },
  { name: 'the tail is written', size: 10, written: [span(4, 10)], missing: [span(0, 4)] },
  {
    name: 'islands are written',
    size: 10,
    written: [span(1, 2), span(5, 6)],
    missing: [span(0, 1), span(2, 5), span(6, 10)],
  },
  { name: 'the blob is empty', size: 0, written: [], missing: [] },
]) {
  test(`the gaps are right when ${name}`, () => assert.deepEqual(gaps(size, written), missing));
}

test('what is read first begins anywhere, and nothing is left out or read twice', () => {
  const spans = [span(0, 4), span(6, 10)];
  assert.deepEqual(beginningAt(0, spans), spans);
  assert.deepEqual(beginningAt(2, spans), [span(2, 4), span(6, 10), span(0, 2)]);
  assert.deepEqual(beginningAt(5, spans), [span(6, 10), span(0, 4)]);
  assert.deepEqual(beginningAt(10, spans), spans);
});
