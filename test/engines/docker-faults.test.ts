import assert from 'node:assert/strict';
import { mkdir, utimes } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { isQuayctlError, QuayctlError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engines/engine.ts';
import { docker } from '../../src/engines/docker/docker.ts';
import type { RunnableImage } from '../../src/image/manifest.ts';
import {
  DOCKERD_KINDS,
  skipWithoutDockerd,
  startDockerd,
  type DockerdKind,
  type TestDockerd,
} from '../helpers/dockerd.ts';
import { randomLayer, type TestLayout } from '../helpers/images.ts';
import type { LayerSpec } from '../helpers/layers.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import {
  dockerId,
  fourLayers,
  layerDigests,
  loadOptions,
  MB,
  NEVER,
  newLayout,
  runnable,
  TestFeed,
} from './engine-images.ts';

const LABEL = 'io.quayctl.temporary';
const frames = (tar: Buffer): Buffer => {
  const cuts = [700, 5000, tar.length];
  return Buffer.concat(cuts.map((end, at) => zstdCompressSync(tar.subarray(cuts[at - 1] ?? 0, end))));
};
const MISTYPED: readonly { what: string; compression: LayerSpec['compression']; pack: LayerSpec['pack'] }[] =
  [
    { what: 'gzip called zstd', compression: 'zstd', pack: (tar) => gzipSync(tar) },
    { what: 'a plain tar called zstd', compression: 'zstd', pack: (tar) => tar },
    { what: 'zstd called gzip', compression: 'gzip', pack: (tar) => zstdCompressSync(tar) },
    { what: 'zstd of several frames', compression: 'zstd', pack: frames },
    { what: 'zstd of several frames called a plain tar', compression: 'none', pack: frames },
  ];

for (const kind of DOCKERD_KINDS) {
  describe(`dockerd, ${kind}`, { skip: skipWithoutDockerd(kind) }, () => faults(kind));
}

function faults(kind: DockerdKind): void {
  const ends: (() => void | Promise<void>)[] = [];
  let dockerd: TestDockerd;

  before(async () => {
    dockerd = await startDockerd({ after: (end) => void ends.push(end) }, [], kind);
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test('an IPv6 address as registry is a name, or refused before anything is loaded', async (t) => {
    const layout = await newLayout(t);
    const built = await layout.addImage({ layers: [randomLayer(1000, 'ipv6')] });
    const image = await runnable(layout, built, '[fd00::1]:5000/team/ipv6:1');
    const engine = await open();
    if (kind === 'debian') {
      const refused = (error: unknown): boolean =>
        isQuayctlError(error, 'engine') && /host name/.test(error.hint ?? '');
      await assert.rejects(engine.presence(image, NEVER), refused);
      return;
    }
    await engine.load(image, new TestFeed(layout), loadOptions(image));
    assert.equal((await dockerd.docker('image', 'inspect', dockerId(image, kind))).code, 0);
    const { text } = await dockerd.api('GET', '/images/json');
    assert.match(text, /"\[fd00::1\]:5000\/team\/ipv6:1"/);
  });

  for (const end of ['kill', 'stop'] as const) {
    const signal = end === 'kill' ? 'SIGKILL' : 'SIGTERM';

    test(`a daemon ended by ${signal} and started again during the load only costs time`, async (t) => {
      const { image, layout } = await prepare(t, `ended-by-${end}`);
      const [, second, third, last] = layerDigests(image);
      assert.ok(second && third && last);
      const feed = new TestFeed(layout, [third, last]);
      const sent = feed.whenStreamed(second);
      const loading = (await open()).load(image, feed, loadOptions(image));
      loading.catch(() => undefined);
      await sent;
      await dockerd[end]();
      const back = dockerd.restart();
      feed.arrive(third);
      feed.arrive(last);
      await back;
      await loading;
      assert.equal(await idOf(image), dockerId(image, kind));
      assert.deepEqual(await temporaryImages(), []);
    });

    test(`a daemon ended by ${signal} is waited for at first contact, and when it is asked what it has`, async (t) => {
      const { image } = await prepare(t, `contact-${end}`);
      const known = await open();
      await known.platform(NEVER);
      await dockerd[end]();
      const asked = Promise.all([(await open()).platform(NEVER), known.presence(image, NEVER)]);
      asked.catch(() => undefined);
      await dockerd.restart();
      const [platform, presence] = await asked;
      assert.equal(platform.os, 'linux');
      assert.equal(presence.image, false);
    });
  }

  test('a daemon that does not come back ends the load', { timeout: 60_000 }, async (t) => {
    const { image, layout } = await prepare(t, 'gone');
    const [, second, , last] = layerDigests(image);
    assert.ok(second && last);
    const feed = new TestFeed(layout, [last]);
    const loading = (await open()).load(image, feed, loadOptions(image));
    const taken = feed.whenStreamed(second);
    loading.catch(() => undefined);
    await taken;
    await dockerd.kill();
    t.after(() => dockerd.restart());
    await assert.rejects(loading, (error) => isQuayctlError(error, 'engine') && error.hint !== undefined);
  });

  test('what a crashed run left saves sending, and goes with the next load of that image', async (t) => {
    const { image, layout } = await prepare(t, 'crashed');
    const [first] = layerDigests(image);
    assert.ok(first);
    const leave = (of: string): Promise<string> =>
      mustRun('docker', [
        '--host',
        dockerd.dockerHost,
        'import',
        '--change',
        `LABEL ${LABEL}=${of}/dead`,
        layout.blobPath(first),
      ]);
    await leave(image.manifest.config.digest);
    const other = (await leave(`sha256:${'1'.repeat(64)}`)).trim();

    const engine = await open();
    const presence = await engine.presence(image, NEVER);
    assert.deepEqual(presence, { image: false, layers: [true, false, false, false] });
    const feed = new TestFeed(layout);
    await engine.load(image, feed, loadOptions(image, { presence }));
    assert.deepEqual(feed.streamed, layerDigests(image).slice(1));
    // Another image's may belong to a run that is under way.
    assert.deepEqual(await temporaryImages(), [other]);
    await dockerd.docker('rmi', other);
  });

  test('layers pruned since they were seen are sent after all, or the error says what to do', async (t) => {
    const { image, layout } = await prepare(t, 'pruned');
    const presence = { image: false, layers: [true, true, false, false] };
    const engine = await open();
    const lost = new TestFeed(layout);
    lost.lose(layerDigests(image)[0]);
    await assert.rejects(
      engine.load(image, lost, loadOptions(image, { presence })),
      (error) => isQuayctlError(error, 'engine') && error.hint === 'pull it again',
    );
    assert.deepEqual(await temporaryImages(), []);
    await engine.load(image, new TestFeed(layout), loadOptions(image, { presence }));
    assert.equal(await idOf(image), dockerId(image, kind));
  });

  for (const { what, compression, pack } of MISTYPED) {
    test(`a layer that is ${what} is loaded as what it is, or refused where docker pull refuses it`, async (t) => {
      const layout = await newLayout(t);
      for (const size of [1000, 9 * MB]) {
        const seeds = [`${what}-${size}`, 'above'];
        const layers = seeds.map((seed) => ({ ...randomLayer(size, seed), compression, pack }) as LayerSpec);
        const image = await runnable(layout, await layout.addImage({ layers }), 'quay.example/faults/type:1');
        const loading = (await open()).load(image, new TestFeed(layout), loadOptions(image));
        if (kind === 'containerd' && compression === 'none') {
          // containerd believes a media type that says a plain tar; `docker pull` fails here, too.
          await assert.rejects(loading, (error) => isQuayctlError(error, 'verification'));
        } else {
          await loading;
          assert.equal(await idOf(image), dockerId(image, kind));
        }
        assert.deepEqual(await temporaryImages(), []);
      }
    });
  }

  test('a layer in damaged zstd is told, and nothing is left', async (t) => {
    const layout = await newLayout(t);
    for (const size of [1000, 9 * MB]) {
      const pack = (tar: Buffer): Buffer => frames(tar).subarray(0, -1);
      const layer = { ...randomLayer(size, `cut-${size}`), compression: 'zstd', pack } as const;
      const built = await layout.addImage({ layers: [layer, randomLayer(5 * MB, 'more')] });
      const image = await runnable(layout, built, `quay.example/faults/cut:${size}`);
      const loading = (await open()).load(image, new TestFeed(layout), loadOptions(image));
      await assert.rejects(loading, (error) => {
        assert.ok(isQuayctlError(error, 'verification'), String(error));
        // An engine that reads zstd unpacks it itself.
        assert.match(error.message, /layer (?:[0-9a-f:sha]+ )?cannot be unpacked: /);
        return true;
      });
      assert.deepEqual(await temporaryImages(), []);
    }
  });

  test("a full disk of Docker's is told as such, and nothing is left", async (t) => {
    const disk = join(await tempDirectory(t, 'small-disk'), 'data');
    await mkdir(disk);
    await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk]);
    const small = await startDockerd(t, [`--data-root=${disk}`], kind);
    const { image, layout } = await prepare(t, 'full');
    const engine = await docker.open({ env: { DOCKER_HOST: small.dockerHost }, options: {} });
    await assert.rejects(
      engine.load(image, new TestFeed(layout), loadOptions(image)),
      (error) =>
        isQuayctlError(error, 'engine') &&
        /disk is full/.test(error.message) &&
        /prune/.test(error.hint ?? ''),
    );
    assert.equal((await small.docker('images', '--all', '--quiet')).stdout, '');
  });

  test(
    'the digest is recorded, by asking the registry where the load cannot do it, and no layer is fetched',
    {
      skip: skipWithout('docker-registry'),
    },
    async (t) => {
      const registry = await startRegistry(t);
      const layout = await newLayout(t);
      const { index, images } = await layout.addIndex([
        { layers: [randomLayer(100_000, 'recorded')] },
        { layers: [randomLayer(1000, 'foreign')], architecture: 's390x' },
      ]);
      await pushImage(layout, index, { url: registry.url, repository: 'team/app', tag: '1' });
      const [built] = images;
      assert.ok(built);
      const repository = `${registry.host}/team/app`;
      for (const name of [`${repository}:1`, `${repository}@${built.manifest.digest}`]) {
        const image = await runnable(layout, built, name, name.includes('@') ? undefined : index);
        const wanted = name.includes('@') ? built.manifest.digest : index.digest;
        const loaded = await (
          await open()
        ).load(image, new TestFeed(layout), loadOptions(image, { recordDigest: true }));
        assert.equal(loaded.digestRecorded, true);
        const inspected = await dockerd.docker(
          'image',
          'inspect',
          '--format',
          '{{.RepoDigests}}',
          dockerId(image, kind),
        );
        assert.ok(inspected.stdout.includes(`${repository}@${wanted}`), inspected.stdout);
      }
      assert.deepEqual(
        registry.requests().filter((request) => request.startsWith('GET') && request.includes('/blobs/')),
        [],
      );
      await registry.kill();
      const image = await runnable(layout, built, `${repository}:2`);
      const silent = await (
        await open()
      ).load(image, new TestFeed(layout), loadOptions(image, { recordDigest: true }));
      assert.equal(silent.digestRecorded, kind === 'containerd');
    },
  );

  function open(): Promise<Engine> {
    return docker.open({ env: { DOCKER_HOST: dockerd.dockerHost }, options: {} });
  }

  async function idOf(image: RunnableImage): Promise<string> {
    const { registry, repository, tag } = image.reference;
    const name = `${registry}/${repository}:${tag ?? ''}`;
    return (await dockerd.docker('image', 'inspect', '--format', '{{.Id}}', name)).stdout.trim();
  }

  async function temporaryImages(): Promise<string[]> {
    const flags = ['--all', '--no-trunc', '--quiet', '--filter', `label=${LABEL}`];
    const { stdout } = await dockerd.docker('images', ...flags);
    return stdout.split('\n').filter((line) => line !== '');
  }
}

test('no daemon, or something that is no Docker, is an engine error with a hint', async (t) => {
  const nowhere = await tempDirectory(t, 'nowhere');
  // A socket that is missing since a moment ago would be waited for: its daemon may be restarting.
  await utimes(nowhere, 0, 0);
  const nothing = join(nowhere, 'docker.sock');
  const web = createServer((_, response) => response.end('<html>hello</html>')).listen(0, '127.0.0.1');
  t.after(() => web.close());
  await new Promise((resolve) => web.once('listening', resolve));
  const { port } = web.address() as AddressInfo;
  web.closeIdleConnections();
  for (const host of [`unix://${nothing}`, 'tcp://127.0.0.1:1', `tcp://127.0.0.1:${port}`]) {
    const engine = await docker.open({ env: { DOCKER_HOST: host }, options: {} });
    await assert.rejects(
      engine.platform(NEVER),
      (error) => isQuayctlError(error, 'engine') && error.hint !== undefined,
      host,
    );
  }
  web.closeAllConnections();
});

test('a daemon that does not answer can be interrupted', async (t) => {
  const deaf = createServer(() => undefined).listen(0, '127.0.0.1');
  t.after(() => deaf.closeAllConnections());
  t.after(() => deaf.close());
  await new Promise((resolve) => deaf.once('listening', resolve));
  const { port } = deaf.address() as AddressInfo;
  const engine = await docker.open({ env: { DOCKER_HOST: `tcp://127.0.0.1:${port}` }, options: {} });
  const stop = new AbortController();
  const asked = engine.platform(stop.signal);
  stop.abort(new QuayctlError('interrupted', 'SIGINT'));
  await assert.rejects(asked, (error) => isQuayctlError(error, 'interrupted'));
});

async function prepare(t: TestContext, seed: string): Promise<{ image: RunnableImage; layout: TestLayout }> {
  const layout = await newLayout(t);
  return { layout, image: await fourLayers(layout, seed) };
}
