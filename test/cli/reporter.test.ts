import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { openTalk } from '../../src/cli/reporter.ts';
import type { Terminal } from '../../src/cli/session.ts';

function terminal(): { readonly said: string[]; readonly terminal: Terminal } {
  const said: string[] = [];
  const stream = new PassThrough() as unknown as NodeJS.WriteStream;
  return {
    said,
    terminal: {
      out: () => assert.fail('talk is no data'),
      err: (text) => void said.push(text),
      interactive: false,
      stderr: stream,
      stdin: process.stdin,
    },
  };
}

test('a node that seeds says every minute, and at its end, what it gave to how many', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const { said, terminal: own } = terminal();
  const { listener } = await openTalk({}, undefined, own);
  const totals = { torrents: 3, peers: 2, uploaded: 12_300_000, takers: 4 };
  listener({ kind: 'seeding', blobs: 3, durationMs: undefined });
  // The seeds tell more often; a minute has one line.
  for (now = 0; now <= 180_000; now += 5000) listener({ kind: 'seed-progress', ...totals });
  listener({ kind: 'seeded', ...totals });
  assert.deepEqual(said, [
    'Seeding 3 blobs until interrupted\n',
    'Seeding 3 blobs, 2 connections now; 12.3 MB given to 4 nodes\n',
    'Seeding 3 blobs, 2 connections now; 12.3 MB given to 4 nodes\n',
    'Seeding 3 blobs, 2 connections now; 12.3 MB given to 4 nodes\n',
    'Seeding is over: 12.3 MB given to 4 nodes\n',
  ]);
});

test('one warning for each obstacle of a run, however many images meet it', async () => {
  const { said, terminal: own } = terminal();
  for (const digest of ['a', 'b']) {
    // Each image of a run talks for itself.
    const { listener } = await openTalk({}, undefined, { ...own });
    listener({ kind: 'warning', message: 'the password goes over plain HTTP' });
    const message = `no bytes come from peers: ${digest}`;
    listener({ kind: 'warning', message, about: 'peers by a.example' });
  }
  assert.deepEqual(said, [
    'warning: the password goes over plain HTTP\n',
    'warning: no bytes come from peers: a\n',
  ]);
});
