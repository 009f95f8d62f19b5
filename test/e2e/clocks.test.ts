import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomLayer } from '../helpers/images.ts';
import { openFaultLane } from '../helpers/fault-lane.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { mustRun } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { assertFails, openStage, receiptOf } from '../helpers/stage.ts';
import { startTokenServer } from '../helpers/token-server.ts';

const DAY_MS = 86_400_000;
const IMAGE = 'team/app:1.0';
const SKIP = { skip: skipWithout('docker-registry', 'faketime') };
const SCOPE = 'repository:team/app:pull,push';

/** Preloads libfaketime as the faketime program does; clocks that only go forward stay right, as on a real machine. */
async function wrongClock(offset: string): Promise<Readonly<Record<string, string>>> {
  const preload = await mustRun(programPath('faketime'), ['-m', '-f', offset, 'printenv', 'LD_PRELOAD']);
  return { LD_PRELOAD: preload.trim(), FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

for (const offset of ['+1d', '-1d']) {
  test(`a machine whose clock is wrong by a day (${offset}) pulls what needs tokens`, SKIP, async (t) => {
    const tokens = await startTokenServer(t, { users: {}, anonymousPull: true });
    const stage = await openStage(t, { auth: tokens.auth });
    const image = await stage.layout.addImage({ layers: [randomLayer(2_000_000, 'a')] });
    await stage.push(image.manifest, IMAGE, tokens.authorization(SCOPE));
    const node = await quayctlNode(t, { env: await wrongClock(offset) });
    const service = ['--torrent-service', stage.service.url];
    const output = await node.run(['torrent', 'pull', stage.name(IMAGE), '--json', '--debug', ...service]);
    receiptOf(output);
    assert.equal(
      tokens.requests.filter((line) => line.startsWith('GET')).length <= 3,
      true,
      tokens.requests.join(),
    );
  });
}

test(
  'where a token server makes dead tokens they are renewed once; then the error says what the clocks are',
  SKIP,
  async (t) => {
    const tokens = await startTokenServer(t, { users: {}, anonymousPull: true });
    const stage = await openStage(t, { auth: tokens.auth });
    const image = await stage.layout.addImage({ layers: [randomLayer(100_000, 'a')] });
    await stage.push(image.manifest, IMAGE, tokens.authorization(SCOPE));
    tokens.clockAheadMs = -DAY_MS;
    tokens.requests.length = 0;
    const node = await quayctlNode(t);
    const output = await node.run(['torrent', 'pull', stage.name(IMAGE), '--json']);
    assertFails(output, 3, 'unauthorized');
    assert.equal(tokens.requests.length, 2, tokens.requests.join('\n'));
    const today = new Date().toISOString().slice(0, 10);
    const yesterday = new Date(Date.now() - DAY_MS).toISOString().slice(0, 10);
    assert.match(
      output.stderr,
      new RegExp(`hint: the clocks differ.* this machine's says ${today} .*token server ${yesterday} `),
    );
  },
);

test(
  'where the tracker takes the service’s tokens for dead they are renewed once, the registry delivers',
  SKIP,
  async (t) => {
    const lane = await openFaultLane(t, await wrongClock('-1d'));
    await lane.heal();
    const before = lane.service.proxy.requests.length;
    const node = await quayctlNode(t);
    const output = await node.run([
      'torrent',
      'pull',
      lane.name,
      '--json',
      '--torrent-service',
      lane.service.proxy.url,
    ]);
    const { total } = receiptOf(output);
    assert.equal(total.fromRegistry, total.size);
    assert.match(output.stderr, /warning: tracker \S+: unapproved request: invalid jwt/);
    // One report for each layer is right.
    const requests = lane.service.proxy.requests
      .slice(before)
      .filter((line) => !line.startsWith('POST /c1/report'));
    for (const [path, asked] of Map.groupBy(requests, (line) => line.split('?')[0])) {
      assert.ok(asked.length <= 2, `${path}: ${asked.length} times`);
    }
  },
);
