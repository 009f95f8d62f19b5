import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gaps } from '../../src/blobs/fill-gaps.ts';

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
