import assert from 'node:assert/strict';
import { afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomLayer, type BuiltImage } from '../helpers/images.ts';
import type { RunningProcess } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { openStage, parseReceipt, receiptOf, verifiedBlobs, type Stage } from '../helpers/stage.ts';

const IMAGE = 'team/app:1.0';
const LAYER_BYTES = 12_000_000;
const ASK_EVERY_MS = 25;
const CROSSED_MS = 30_000;

describe('what a node has it keeps, and gives', { skip: skipWithout('docker-registry') }, () => {
  const scope = suiteScope();
  let stage: Stage;
  let image: BuiltImage;
  let size: number;

  before(async () => {
    stage = await openStage(scope);
    image = await stage.layout.addImage({
      layers: [randomLayer(LAYER_BYTES, 'a'), randomLayer(LAYER_BYTES, 'b')],
    });
    await stage.push(image.manifest, IMAGE);
    size = image.layers.reduce((sum, layer) => sum + layer.size, 0);
  });
  afterEach(() => {
    stage.pipe.link.bytesPerSecond = Infinity;
  });

  const flags = (): string[] => ['--json', '--torrent-service', stage.service.url];
  const startPull = (node: QuayctlNode, ...more: string[]): RunningProcess =>
    node.start(['torrent', 'pull', stage.name(IMAGE), ...flags(), ...more]);
  const crossed = async (since: number, bytes: number): Promise<void> => {
    const deadline = Date.now() + CROSSED_MS;
    while (stage.pipe.traffic.toClient - since < bytes) {
      assert.ok(
        Date.now() < deadline,
        `only ${stage.pipe.traffic.toClient - since} of ${bytes} bytes crossed`,
      );
      await sleep(ASK_EVERY_MS);
    }
  };

  test('a pull that is killed at 60 % moves less than 45 % more when it is run again', async (t) => {
    const node = await quayctlNode(t);
    stage.pipe.link.bytesPerSecond = 8_000_000;
    const begun = stage.pipe.traffic.toClient;
    const first = startPull(node);
    await crossed(begun, size * 0.6);
    await first.kill('SIGKILL');
    stage.pipe.link.bytesPerSecond = Infinity;
    const killed = stage.pipe.traffic.toClient;
    const { total } = receiptOf(await node.run(['torrent', 'pull', stage.name(IMAGE), ...flags()]));
    const more = (stage.pipe.traffic.toClient - killed) / size;
    t.diagnostic(`${(more * 100).toFixed(1)} % more; ${total.fromStore} of ${size} bytes from the store`);
    assert.ok(more < 0.45, `${(more * 100).toFixed(1)} % more`);
    await verifiedBlobs(node.store);
  });

  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} in the middle of a pull ends it with ${exitCode}, within seconds`, async (t) => {
      const node = await quayctlNode(t);
      stage.pipe.link.bytesPerSecond = 4_000_000;
      const begun = stage.pipe.traffic.toClient;
      const pull = startPull(node);
      await crossed(begun, size * 0.2);
      const stopped = performance.now();
      const { code } = await pull.kill(signal);
      assert.equal(code, exitCode, pull.stderr());
      assert.ok(performance.now() - stopped < 8000);
      assert.equal((JSON.parse(pull.stdout()) as { exitCode: number }).exitCode, exitCode);
    });
  }

  test('two processes on one store download an image once', async (t) => {
    const node = await quayctlNode(t);
    stage.pipe.link.bytesPerSecond = 8_000_000;
    const begun = stage.pipe.traffic.toClient;
    const pulls = [startPull(node), startPull(node)];
    const ends = await Promise.all(pulls.map(({ exited }) => exited));
    assert.deepEqual(
      ends.map(({ code }) => code),
      [0, 0],
      pulls.map((pull) => pull.stderr()).join('\n'),
    );
    const receipts = pulls.map((pull) => parseReceipt(pull.stdout()));
    const moved = stage.pipe.traffic.toClient - begun;
    t.diagnostic(`through the gateway: ${(moved / size).toFixed(3)} times the image`);
    assert.ok(moved < size * 1.1, `${moved} bytes for an image of ${size}`);
    assert.equal(
      receipts.reduce((sum, { total }) => sum + total.fromStore, 0),
      size,
    );
  });

  test('a seeding node gives what another process adds to its store', async (t) => {
    const giver = await quayctlNode(t);
    const seed = giver.start(['torrent', 'seed', '--torrent-service', stage.service.url]);
    receiptOf(await giver.run(['torrent', 'pull', stage.name(IMAGE), ...flags()]));

    const taker = await quayctlNode(t);
    const more = ['--skip-web-seed', '--wait-for-peers', '60s'];
    const output = await taker.run(['torrent', 'pull', stage.name(IMAGE), ...flags(), ...more]);
    const { total } = receiptOf(output);
    assert.equal(total.fromPeers, size, `${output.stderr}\n${seed.stderr()}`);
    const { code } = await seed.kill('SIGTERM');
    assert.equal(code, 0, seed.stderr());
  });

  test('a seed with --duration gives meanwhile, and ends with 0: at a signal, and by itself', async (t) => {
    const giver = await quayctlNode(t);
    const service = ['--torrent-service', stage.service.url];
    const args = ['torrent', 'seed', stage.name(IMAGE), ...service, '--duration'];
    const seed = giver.start([...args, '10m']);
    await seed.waitFor(/Seeding/, 60_000);
    const taker = await quayctlNode(t);
    const output = await taker.run(['torrent', 'pull', stage.name(IMAGE), ...flags(), '--skip-web-seed']);
    assert.equal(receiptOf(output).total.fromPeers, size);
    assert.equal((await seed.kill('SIGINT')).code, 0, seed.stderr());
    const short = await giver.run([...args, '1s']);
    assert.equal(short.code, 0, short.stderr);
  });

  test('what is in the store is not downloaded again', async (t) => {
    const node = await quayctlNode(t);
    receiptOf(await node.run(['torrent', 'pull', stage.name(IMAGE), ...flags()]));
    const { total } = receiptOf(await node.run(['torrent', 'pull', stage.name(IMAGE), ...flags()]));
    assert.deepEqual([total.fromStore, total.fromPeers + total.fromRegistry], [size, 0]);
  });

  test('with --offline-ok a stored image is pulled while the registry is down', async (t) => {
    const node = await quayctlNode(t);
    receiptOf(await node.run(['torrent', 'pull', stage.name(IMAGE), ...flags()]));
    await stage.pipe.down();
    t.after(() => stage.pipe.up());
    const args = ['torrent', 'pull', stage.name(IMAGE), ...flags()];
    assert.equal((await node.run(args)).code, 1);
    receiptOf(await node.run([...args, '--offline-ok']));
  });
});
