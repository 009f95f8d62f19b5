import assert from 'node:assert/strict';
import { test } from 'node:test';
import { delay } from '../../src/base/retry.ts';
import { withMinimumRate, BodyTooSlow } from '../../src/http/minimum-rate.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';

const URL_ = new URL('https://registry.test/v2/');
const PATIENCE_MS = 200;
const NEVER = new AbortController().signal;

async function* body(count: number, size: number, pauseMs: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < count; at++) {
    if (pauseMs > 0) await delay(pauseMs, NEVER);
    yield Buffer.alloc(size);
  }
}

async function read(chunks: AsyncIterable<Buffer>, pauseMs = 0): Promise<number> {
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (pauseMs > 0) await delay(pauseMs, NEVER);
  }
  return length;
}

test('a body that comes byte by byte is given up', async (t) => {
  const time = new VirtualTime(t);
  await assert.rejects(time.until(read(withMinimumRate(body(1000, 1, 10), URL_, PATIENCE_MS))), BodyTooSlow);
});

test('a body that is slow for a while, or whose reader is, comes whole', async (t) => {
  const time = new VirtualTime(t);
  assert.equal(await time.until(read(withMinimumRate(body(5, 1, 10), URL_, PATIENCE_MS))), 5);
  assert.equal(await time.until(read(withMinimumRate(body(50, 10_000, 10), URL_, PATIENCE_MS))), 500_000);
  assert.equal(await time.until(read(withMinimumRate(body(50, 1, 0), URL_, PATIENCE_MS), 10)), 50);
});
