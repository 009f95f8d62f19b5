import assert from 'node:assert/strict';
import { mkdir, open, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDockerd } from '../helpers/dockerd.ts';
import { startServer } from '../helpers/http-server.ts';
import { randomLayer, type BuiltImage } from '../helpers/images.ts';
import { mustRun, type Output } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushManifest } from '../helpers/push.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { registryBlobPath } from '../helpers/registry.ts';
import { assertFails, openStage, receiptOf, verifiedBlobs, type Stage } from '../helpers/stage.ts';

const IMAGE = 'team/app:1.0';
const LAYER_BYTES = 3_000_000;
const PASSWORD = 'correct-horse-battery';

describe('bad input, with a registry for everybody', { skip: skipWithout('docker-registry') }, () => {
  const scope = suiteScope();
  let stage: Stage;
  let image: BuiltImage;
  let node: QuayctlNode;

  before(async () => {
    stage = await openStage(scope);
    image = await stage.layout.addImage({
      layers: [randomLayer(LAYER_BYTES, 'a'), randomLayer(LAYER_BYTES, 'b')],
    });
    await stage.push(image.manifest, IMAGE);
  });
  beforeEach(async () => {
    node = await quayctlNode(scope);
  });
  afterEach(async () => {
    stage.pipe.faults.length = 0;
    stage.pipe.link.bytesPerSecond = Infinity;
    await Promise.all([stage.pipe.up(), stage.service.up()]);
  });
  const pull = (name: string, ...flags: string[]): Promise<Output> =>
    node.run([
      'torrent',
      'pull',
      stage.name(name),
      '--json',
      '--torrent-service',
      stage.service.url,
      ...flags,
    ]);

  for (const [name, exitCode, code] of [
    ['team/app:none', 4, 'not-found'],
    ['team/none:1.0', 4, 'not-found'],
    [`team/app@sha256:${'0'.repeat(64)}`, 4, 'not-found'],
    ['team/APP', 2, 'usage'],
  ] as const) {
    test(`${name} ends with ${exitCode}`, async () => assertFails(await pull(name), exitCode, code));
  }

  for (const flags of [
    ['--seed-after', 'soon'],
    ['--upload-rate', 'fast'],
    ['--encryption-mode', '3'],
    ['--lower-port', '7000', '--upper-port', '6000'],
    ['--platform', 'linux'],
    ['--no-such-flag'],
  ]) {
    test(`${flags.join(' ')} is a usage error that names the flag`, async () => {
      const output = await pull(IMAGE, ...flags);
      assertFails(output, 2, 'usage');
      assert.ok(output.stderr.includes(flags[0] ?? ''), output.stderr);
    });
  }

  test('a registry that is down at the start ends with 1, and works again when it is back', async () => {
    await stage.pipe.down();
    assertFails(await pull(IMAGE), 1, 'unreachable');
    await stage.pipe.up();
    receiptOf(await pull(IMAGE));
  });

  test('a registry that goes down in the middle for good ends with 1 within half a minute, and nothing that came is lost', async () => {
    const slow = 2_000_000;
    stage.pipe.link.bytesPerSecond = slow;
    // Without a torrent service: its copy of the blobs would go on.
    const run = node.start(['torrent', 'pull', stage.name(IMAGE), '--json']);
    const begun = stage.pipe.traffic.toClient;
    const deadline = Date.now() + 30_000;
    while (stage.pipe.traffic.toClient - begun < LAYER_BYTES * 1.2) {
      assert.ok(Date.now() < deadline, run.stderr());
      await sleep(50);
    }
    await stage.pipe.down();
    const downAt = performance.now();
    const { code } = await run.exited;
    assert.equal(code, 1, run.stderr());
    assert.ok(performance.now() - downAt < 30_000, 'it gave up in time');
    const had = stage.pipe.traffic.toClient - begun;
    await stage.pipe.up();
    stage.pipe.link.bytesPerSecond = Infinity;

    receiptOf(await node.run(['torrent', 'pull', stage.name(IMAGE), '--json']));
    const all = stage.pipe.traffic.toClient - begun;
    const size = image.layers.reduce((sum, layer) => sum + layer.size, 0);
    assert.ok(all < size * 1.25, `${had} bytes, then ${all - had} more, for an image of ${size}`);
  });

  test('a registry that is back after some seconds is waited for', async () => {
    stage.pipe.link.bytesPerSecond = 2_000_000;
    const begun = stage.pipe.traffic.toClient;
    const running = pull(IMAGE);
    while (stage.pipe.traffic.toClient - begun < LAYER_BYTES / 2) await sleep(50);
    await stage.pipe.down();
    await sleep(6_000);
    await stage.pipe.up();
    const { total } = receiptOf(await running);
    assert.equal(total.fromRegistry, total.size);
  });

  test('without the torrent service the registry delivers', async () => {
    await stage.service.down();
    const { total } = receiptOf(await pull(IMAGE));
    assert.equal(total.fromRegistry, total.size);
  });

  test('a service that hashes for ever is asked once in a second, and the registry delivers', async (t) => {
    const { url, requests } = await startServer(t, (_, response) => {
      response.writeHead(202, {
        'quay-torrent': '1',
        'retry-after': '1',
        'content-type': 'application/json',
      });
      response.end(JSON.stringify({ size: LAYER_BYTES, hashed: 0, etaSeconds: 1 }));
    });
    const { total } = receiptOf(await pull(IMAGE, '--torrent-service', url));
    assert.equal(total.fromRegistry, total.size);
    const most = 3 * image.layers.length * Math.ceil(total.seconds);
    assert.ok(requests.length <= most, `${requests.length} questions in ${total.seconds} s`);
  });

  test('without the torrent service, --skip-web-seed is an error that names the blob', async () => {
    await stage.service.down();
    const output = await pull(IMAGE, '--skip-web-seed');
    assert.equal(output.code, 1, output.stderr);
    assert.match(output.stderr, /sha256:[0-9a-f]{12}/);
  });

  test('with --skip-web-seed and no peer, the pull ends with 1 after --wait-for-peers', async () => {
    assertFails(await pull(IMAGE, '--skip-web-seed', '--wait-for-peers', '2s'), 1, 'no-peers');
  });

  test('without the tracker the registry delivers', async () => {
    receiptOf(await pull(IMAGE, '--tracker', 'http://127.0.0.1:1/announce'));
  });

  test('a registry that answers 503 for a while is asked again', async () => {
    stage.pipe.faults.push({
      status: 503,
      headers: { 'retry-after': '0' },
      times: 2,
      match: /GET .*\/(manifests|blobs)\//,
    });
    receiptOf(await pull(IMAGE));
  });

  test('a byte that is damaged on the way never reaches the store', async () => {
    const layer = image.layers[0]?.digest ?? '';
    stage.pipe.faults.push({ corruptAt: 50_000, times: 1, match: new RegExp(`GET .*/blobs/${layer}`) });
    const { total } = receiptOf(await pull(IMAGE));
    assert.ok(total.wasted > 0, 'what was damaged was thrown away');
    await verifiedBlobs(node.store);
  });

  test('a torrent of other bytes gives the right bytes', async (t) => {
    const [right, wrong] = await Promise.all(['c', 'd'].map((seed) => equalSize(stage, seed)));
    assert.ok(right !== undefined && wrong !== undefined);
    const [{ digest }, { digest: lie }] = [onlyLayer(right), onlyLayer(wrong)];
    const liar = await lyingService(t, stage.service.url, digest, lie);
    const name = stage.name('team/c:1');
    const output = await node.run(['torrent', 'pull', name, '--json', '--torrent-service', liar]);
    const { total } = receiptOf(output);
    assert.equal(total.fromRegistry, total.size);
    assert.ok((await verifiedBlobs(node.store)).has(digest));
  });

  test('a layer larger or smaller than its manifest says ends with 6', async () => {
    const manifest = JSON.parse((await stage.layout.blob(image.manifest.digest)).toString()) as {
      layers: { size: number }[];
    };
    for (const difference of [-1, 1]) {
      const layers = manifest.layers.map((each) => ({ ...each, size: each.size + difference }));
      const bytes = Buffer.from(JSON.stringify({ ...manifest, layers }));
      const target = { url: stage.registry.url, repository: 'team/app', tag: `size${difference}` };
      await pushManifest(image.manifest.mediaType, bytes, target);
      assertFails(await pull(`team/app:size${difference}`), 6, 'verification');
    }
  });

  test('a layer that the registry itself has damaged ends with 6', async () => {
    const { built } = await onlyInRegistry(stage, 'damaged');
    const file = await open(registryBlobPath(stage.registry, onlyLayer(built).digest), 'r+');
    await file.write(Buffer.from('damage'), 0, 6, 1_000_000);
    await file.close();
    assertFails(await pull('team/damaged:1'), 6, 'verification');
    assert.ok(!(await verifiedBlobs(node.store)).has(onlyLayer(built).digest));
  });

  test('a layer that the registry has truncated is not taken for whole', async () => {
    const { built } = await onlyInRegistry(stage, 'truncated');
    await truncate(registryBlobPath(stage.registry, onlyLayer(built).digest), 1_000_000);
    const output = await pull('team/truncated:1');
    assert.ok(output.code === 6 || output.code === 1, output.stderr);
    assert.ok(!(await verifiedBlobs(node.store)).has(onlyLayer(built).digest));
  });

  test('a full disk is told as such and ends with 1', { skip: skipWithout('root') }, async (t) => {
    const store = join(node.home, 'small');
    await mkdir(store);
    await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'quayctl-test', store]);
    t.after(() => mustRun('umount', ['--lazy', store]));
    assertFails(await pull(IMAGE, '--store', store), 1, 'disk-full');
  });

  test('no Docker ends with 5 and says what to do', async () => {
    const output = await node.run(['docker', 'torrent', 'pull', stage.name(IMAGE), '--json']);
    assertFails(output, 5, 'engine');
    assert.match(output.stderr, /^hint: /m);
  });

  test(
    'a Docker that dies during the load ends with 5, and the next pull finds the layers in the store',
    { skip: skipWithout('root', 'dockerd', 'docker') },
    async (t) => {
      const engine = await startDockerd(t);
      stage.pipe.link.bytesPerSecond = 3_000_000;
      const args = [
        'docker',
        'torrent',
        'pull',
        stage.name(IMAGE),
        '--json',
        '--torrent-service',
        stage.service.url,
      ];
      const env = { DOCKER_HOST: engine.dockerHost };
      const run = node.start(args, { env });
      await run.waitFor(/Completed/);
      await engine.kill();
      const { code } = await run.exited;
      assert.equal(code, 5, run.stderr());
      await engine.restart();
      stage.pipe.link.bytesPerSecond = Infinity;
      const { total } = receiptOf(await node.run(args, { env }));
      assert.ok(total.fromStore > 0);
    },
  );

  test('a port range of the user that is taken ends with 1', async (t) => {
    const taken = createTcpServer().listen(0, '0.0.0.0');
    t.after(() => void taken.close());
    await new Promise((resolve) => taken.once('listening', resolve));
    const port = String((taken.address() as AddressInfo).port);
    const output = await pull(IMAGE, '--lower-port', port, '--upper-port', port);
    assertFails(output, 1, 'port');
  });
});

describe('bad credentials', { skip: skipWithout('docker-registry', 'htpasswd') }, () => {
  const scope = suiteScope();
  let stage: Stage;
  before(async () => {
    stage = await openStage(scope, { auth: { kind: 'htpasswd', username: 'ann', password: PASSWORD } });
    const image = await stage.layout.addImage({ layers: [randomLayer(2_000_000, 'private')] });
    await stage.push(image.manifest, IMAGE, basic(PASSWORD));
  });

  for (const [what, password, exitCode] of [
    ['no password', undefined, 3],
    ['a wrong password', 'wrong-horse', 3],
    ['the right password', PASSWORD, 0],
  ] as const) {
    test(`${what} ends with ${exitCode} and is shown nowhere`, async (t) => {
      const node = await quayctlNode(t);
      if (password !== undefined) await dockerLogin(node, stage.pipe.host, password);
      const args = ['torrent', 'pull', stage.name(IMAGE), '--json', '--debug'];
      const output = await node.run([...args, '--torrent-service', stage.service.url]);
      if (exitCode === 0) receiptOf(output);
      else assertFails(output, exitCode, 'unauthorized');
      assert.match(output.stderr, /^debug: GET http:\S+\/manifests\/1\.0 -> (200|401) /m);
      const secret = password ?? PASSWORD;
      for (const shown of [secret, Buffer.from(`ann:${secret}`).toString('base64')]) {
        assert.ok(!(output.stdout + output.stderr).includes(shown));
      }
    });
  }
});

const basic = (password: string): string => `Basic ${Buffer.from(`ann:${password}`).toString('base64')}`;

async function dockerLogin(node: QuayctlNode, registry: string, password: string): Promise<void> {
  const folder = node.env['DOCKER_CONFIG'] ?? '';
  await mkdir(folder, { recursive: true });
  const auth = Buffer.from(`ann:${password}`).toString('base64');
  await writeFile(join(folder, 'config.json'), JSON.stringify({ auths: { [registry]: { auth } } }));
}

function onlyLayer(image: BuiltImage): BuiltImage['layers'][number] {
  const [first] = image.layers;
  assert.ok(first !== undefined);
  return first;
}

/** Images whose only layers have the same size and other bytes. */
async function equalSize(stage: Stage, seed: string): Promise<BuiltImage> {
  const image = await stage.layout.addImage({
    layers: [{ ...randomLayer(LAYER_BYTES, seed), compression: 'none' }],
  });
  await stage.push(image.manifest, `team/${seed}:1`);
  return image;
}

async function onlyInRegistry(stage: Stage, name: string): Promise<{ built: BuiltImage }> {
  const built = await stage.layout.addImage({ layers: [randomLayer(LAYER_BYTES, name)] });
  await stage.push(built.manifest, `team/${name}:1`);
  return { built };
}

/** Gives the torrent of `lie` for `digest`, and says in it that it is of `digest`. */
async function lyingService(t: TestContext, service: string, digest: string, lie: string): Promise<string> {
  const server: Server = createServer((request, response) => {
    void (async () => {
      const url = new URL((request.url ?? '/').replace(digest, lie).replace('team/c', 'team/d'), service);
      const answer = await fetch(url);
      const body = Buffer.from(await answer.arrayBuffer())
        .toString('latin1')
        .replaceAll(lie, digest);
      response.writeHead(answer.status, {
        'content-type': answer.headers.get('content-type') ?? '',
        'quay-torrent': '1',
      });
      response.end(Buffer.from(body, 'latin1'));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
