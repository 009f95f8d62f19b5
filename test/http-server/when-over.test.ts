import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { listen } from '../../src/http-server/server.ts';
import { whenOver } from '../../src/http-server/when-over.ts';

test('however many count an answer, and while it is piped, Node sees no more listeners than it allows', async (t) => {
  const warnings: string[] = [];
  const warned = ({ name, message }: Error): void => void warnings.push(`${name}: ${message}`);
  process.on('warning', warned);
  t.after(() => process.off('warning', warned));
  const ended: number[] = [];
  const answers: ServerResponse[] = [];
  const server = await listen(
    { place: { host: '127.0.0.1', port: 0 }, isProxy: () => false },
    () => (_, response) => {
      answers.push(response);
      for (let count = 0; count < 20; count++) whenOver(response, () => ended.push(count));
      void pipeline(Readable.from([Buffer.alloc(100_000)]), response);
    },
  );
  t.after(() => server.close());
  const answer = await fetch(server.url);
  assert.equal((await answer.arrayBuffer()).byteLength, 100_000);
  const [response] = answers;
  assert.ok(response);
  await new Promise<void>((resolve) => whenOver(response, resolve));
  assert.deepEqual(ended, [...Array(20).keys()]);
  // a warning is told in a later turn of the loop than its cause
  await new Promise(setImmediate);
  assert.deepEqual(warnings, []);
  let isLate = false;
  whenOver(response, () => (isLate = true));
  assert.equal(isLate, true, 'what asks after the end is told at once');
});
