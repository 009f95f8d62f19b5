import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLogFormat } from '../../src/cli/log-format.ts';
import { serveLine } from '../../src/cli/serve-log.ts';
import type { Digest } from '../../src/image/digest.ts';
import { quayctlNode } from '../helpers/quayctl.ts';

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;

test('--log-format json: numbers stay numbers, levels are named, secrets are not', () => {
  const line = (event: Parameters<typeof serveLine>[0]): Record<string, unknown> => {
    const { time, ...rest } = JSON.parse(serveLine(event, true, 'json') ?? '') as Record<string, unknown>;
    assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    return rest;
  };
  assert.deepEqual(line({ kind: 'hashed', digest: DIGEST, size: 40_000_000, seconds: 1.25 }), {
    level: 'info',
    event: 'hashed',
    digest: DIGEST,
    size: 40_000_000,
    seconds: 1.25,
  });
  assert.equal(line({ kind: 'hashing-failed', digest: DIGEST, reason: 'x' })['level'], 'warning');
  const warning = line({ kind: 'warning', message: 'http://user:hunter2@a.example/x fails' });
  assert.equal(warning['level'], 'warning');
  assert.doesNotMatch(JSON.stringify(warning), /hunter2/);
  assert.equal(serveLine({ kind: 'announced', outcome: 'accepted' }, true, 'json'), undefined);
  assert.throws(() => parseLogFormat('xml'), { code: 'usage' });
});

test('what a seed says is one JSON object a line', async (t) => {
  const node = await quayctlNode(t);
  const { code, stderr } = await node.run(['torrent', 'seed', '--duration', '0', '--log-format', 'json']);
  assert.equal(code, 0, stderr);
  const lines = stderr.trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { event: string; level: string; message: string });
  assert.deepEqual(
    events.map(({ event }) => event),
    ['said', 'seeding', 'seeded'],
  );
  assert.equal(events.at(-1)?.message, 'Seeding is over: 0 B given to 0 nodes');
});
