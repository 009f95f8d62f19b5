import assert from 'node:assert/strict';
import { afterEach, before, describe, test } from 'node:test';
import { openFaultLane, type FaultLane } from '../helpers/fault-lane.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { assertFails, receiptOf, verifiedBlobs } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

/** A registry that hangs may cost a stall for the manifest's sake, and one for small blobs; generous for slow machines. */
const HANGING_MS = 25_000;

describe('the registry is gone, peers have everything', { skip: skipWithout('docker-registry') }, () => {
  const scope = suiteScope();
  let lane: FaultLane;

  before(async () => {
    lane = await openFaultLane(scope);
    await lane.heal();
    lane.pipe.link.bytesPerSecond = Infinity;
  });
  afterEach(() => lane.heal());

  const pull = async (name: string, ...flags: string[]) => {
    const node = await quayctlNode(scope);
    const args = ['torrent', 'pull', name, '--json', ...flags];
    const output = await node.run(args);
    return { output, node };
  };

  test('--offline-ok: manifest and torrents come from the service that served them before, all bytes from peers', async () => {
    const service = ['--torrent-service', lane.service.proxy.url];
    await lane.registry.kill();
    assertFails((await pull(lane.name, ...service, '--offline-ok')).output, 1, 'unreachable');

    await lane.registry.restart();
    // Through the service, as through any registry: that is how it comes to know the manifest.
    receiptOf((await pull(`${lane.service.proxy.host}/team/app:1.0`)).output);
    await lane.registry.kill();
    assertFails((await pull(lane.name, ...service)).output, 1, 'unreachable');
    const { output, node } = await pull(lane.name, ...service, '--offline-ok');
    const { total, digest } = receiptOf(output);
    assert.deepEqual([total.fromPeers, digest], [total.size, lane.image.manifest.digest]);
    assert.match(output.stderr, /using what the torrent service knows/);
    const blobs = await verifiedBlobs(node.store);
    for (const layer of lane.image.layers) assert.ok(blobs.has(layer.digest));
  });

  test('a pull from the service itself needs no flag: it has the manifest, peers have the rest', async () => {
    const name = `${lane.service.proxy.host}/team/app:1.0`;
    receiptOf((await pull(name)).output);
    await lane.registry.kill();
    const { total } = receiptOf((await pull(name)).output);
    assert.equal(total.fromPeers, total.size);
  });

  test('a registry that hangs at every blob costs seconds, small blobs included', async () => {
    lane.pipe.faults.push({ match: /\/blobs\//, silent: true });
    const started = performance.now();
    const { output } = await pull(lane.name, '--torrent-service', lane.service.proxy.url);
    const { total } = receiptOf(output);
    assert.equal(total.fromPeers, total.size);
    const took = performance.now() - started;
    assert.ok(took < HANGING_MS, `${took} ms\n${output.stderr}`);
  });
});
