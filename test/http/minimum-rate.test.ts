import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { withMinimumRate, BodyTooSlow } from '../../src/http/minimum-rate.ts';

const URL_ = new URL('https://registry.test/v2/');
const PATIENCE_MS = 200;

async function* body(count: number, size: number, pauseMs: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < count; at++) {
    await sleep(pauseMs);
    yield Buffer.alloc(size);
  }
}

async function read(chunks: AsyncIterable<Buffer>, pauseMs = 0): Promise<number> {
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    await sleep(pauseMs);
  }
  return length;
}

test('a body that comes byte by byte is given up', async () => {
  await assert.rejects(read(withMinimumRate(body(1000, 1, 10), URL_, PATIENCE_MS)), BodyTooSlow);
});

test('a body that is slow for a while, or whose reader is, comes whole', async () => {
  assert.equal(await read(withMinimumRate(body(5, 1, 10), URL_, PATIENCE_MS)), 5);
  assert.equal(await read(withMinimumRate(body(50, 10_000, 10), URL_, PATIENCE_MS)), 500_000);
  assert.equal(await read(withMinimumRate(body(50, 1, 0), URL_, PATIENCE_MS), 10), 50);
});
