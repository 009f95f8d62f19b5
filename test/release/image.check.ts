import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipWithoutDockerd, startDockerd } from '../helpers/dockerd.ts';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import { startPodman } from '../helpers/podman.ts';
import { mustRun, startProcess, type Output, type Scope } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { artefact, imageLayout, releasedVersion } from './artefacts.ts';
import { imageLayers } from './image-root.ts';

/** Its own limits are higher than what a container around the tests may set. */
const PODMAN_FLAGS = ['--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024'];
const LARGEST = 60e6;
const WAIT_MS = 60_000;

test(
  'the image: two platforms in one index, small, labelled, and not root',
  { skip: skipWithout('skopeo') },
  async (t) => {
    const archive = artefact('quayctl-VERSION-oci.tar');
    for (const architecture of ['amd64', 'arm64']) {
      const from = [
        '--override-arch',
        architecture,
        'inspect',
        `oci-archive:${archive}:${releasedVersion()}`,
      ];
      const manifest = JSON.parse(await mustRun('skopeo', [...from, '--raw'])) as object;
      assert.ok('manifests' in manifest);
      const config = JSON.parse(await mustRun('skopeo', [...from, '--config'])) as {
        architecture: string;
        config: { User: string; Labels: Record<string, string> };
      };
      assert.equal(config.architecture, architecture);
      assert.equal(config.config.User, '65532:65532');
      assert.equal(config.config.Labels['org.opencontainers.image.version'], releasedVersion());
      assert.equal(config.config.Labels['org.opencontainers.image.licenses'], 'Apache-2.0');
      const { layers } = await imageLayers(t, architecture);
      const size = layers.reduce((sum, layer) => sum + layer.size, 0);
      assert.ok(size < LARGEST, `${architecture}: ${size} bytes compressed`);
    }
    const { layers, pathOf } = await imageLayers(t, 'amd64');
    const lists = layers.map(({ digest }) => mustRun('tar', ['-tzf', pathOf(digest)]));
    const files = (await Promise.all(lists)).join('');
    for (const name of ['libc6', 'gcc-12-base', 'quayctl', 'ca-certificates'])
      assert.ok(files.includes(`usr/share/doc/${name}/copyright\n`), name);
  },
);

test('quayctl pulls its own image, both platforms, from a service over the layout', async (t) => {
  const layout = await imageLayout(t);
  const near = await quayctlNode(t);
  const service = near.start([
    'serve',
    '--upstream',
    `oci:${layout}`,
    '--listen',
    '127.0.0.1:0',
    '--alias',
    'quay.example',
  ]);
  const [, host] = await service.waitFor(/^http:\/\/(\S+)$/m, WAIT_MS);
  const node = await quayctlNode(t);
  for (const platform of ['linux/amd64', 'linux/arm64']) {
    const image = `${host}/quayctl:${releasedVersion()}`;
    const pulled = await node.run(['torrent', 'pull', image, '--platform', platform, '--json']);
    assert.equal(pulled.code, 0, pulled.stderr);
    const { layers } = JSON.parse(pulled.stdout) as { layers: unknown[] };
    assert.equal(layers.length, 2);
  }
});

/** What an engine's command line is asked, and how it is called. */
interface Engine {
  readonly name: string;
  readonly socket: string;
  /** Of `run`. */
  readonly flags: readonly string[];
  readonly run: (...args: readonly string[]) => Promise<Output>;
  readonly start: (...args: readonly string[]) => ReturnType<typeof startProcess>;
}

async function mustEngine(engine: Engine, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await engine.run(...args);
  assert.equal(code, 0, `${engine.name} ${args.join(' ')}\n${stderr}`);
  return stdout;
}

/** Serve, a mirror, and a pull through the engine's own socket, all in containers of the image. */
async function everything(t: Scope, engine: Engine): Promise<void> {
  const image = `quayctl:${releasedVersion()}`;
  const host = ['run', '--rm', '--network', 'host', ...engine.flags];
  assert.equal(
    await mustEngine(engine, 'run', '--rm', '--network', 'none', ...engine.flags, image, 'version'),
    `quayctl ${releasedVersion()}\n`,
  );

  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [randomLayer(2_000_000, engine.name)] }, 'team/app:1.0');
  await mustRun('chmod', ['-R', 'a+rX', layout.directory]);
  const mount = ['--volume', `${layout.directory}:/images:ro`];
  const serve = engine.start(
    ...host,
    ...mount,
    '--name',
    'serve',
    image,
    'serve',
    '--upstream',
    'oci:/images',
    '--listen',
    '127.0.0.1:0',
    '--admin-listen',
    'none',
  );
  t.after(async () => {
    await engine.run('rm', '--force', 'serve', 'mirror');
    await serve.kill('SIGTERM');
  });
  const [, service = ''] = await serve.waitFor(/^http:\/\/(\S+)$/m, WAIT_MS);

  const socket = [
    '--user',
    '0',
    '--volume',
    `${engine.socket}:/var/run/docker.sock`,
    '--env',
    'DOCKER_HOST=unix:///var/run/docker.sock',
  ];
  await mustEngine(engine, ...host, ...socket, image, 'docker', 'torrent', 'pull', `${service}/team/app:1.0`);
  await mustEngine(engine, 'inspect', '--type', 'image', `${service}/team/app:1.0`);

  const mirror = engine.start(
    ...host,
    '--name',
    'mirror',
    image,
    'mirror',
    '--registry',
    `${service}=http://${service}`,
    '--listen',
    '127.0.0.1:0',
    '--plain',
  );
  t.after(async () => void (await mirror.kill('SIGTERM')));
  const [, place = ''] = await mirror.waitFor(/(127\.0\.0\.1:\d+)/, WAIT_MS);
  const answer = await fetch(`http://${place}/v2/team/app/manifests/1.0?ns=${service}`);
  assert.equal(answer.status, 200);
}

test(
  'podman runs the image: serve, mirror, a pull through its socket',
  { skip: skipWithout('root', 'podman') },
  async (t) => {
    const podman = await startPodman(t);
    const env = { ...process.env, CONTAINER_HOST: podman.dockerHost };
    const engine: Engine = {
      name: 'podman',
      flags: PODMAN_FLAGS,
      socket: podman.socket,
      run: (...args) => podman.podman(...args),
      start: (...args) => startProcess(programPath('podman'), ['--remote', ...args], { env }),
    };
    await mustEngine(engine, 'load', '--input', artefact('quayctl-VERSION-oci.tar'));
    await everything(t, engine);
  },
);

for (const kind of ['debian', 'containerd'] as const) {
  test(
    `Docker (${kind}) runs the image: serve, mirror, a pull through its socket`,
    { skip: skipWithoutDockerd(kind) },
    async (t) => {
      const dockerd = await startDockerd(t, [], kind);
      const engine: Engine = {
        name: kind,
        flags: [],
        socket: dockerd.socket,
        run: (...args) => dockerd.docker(...args),
        start: (...args) => startProcess(programPath('docker'), ['--host', dockerd.dockerHost, ...args]),
      };
      await mustEngine(engine, 'load', '--input', artefact('quayctl-VERSION-oci.tar'));
      await everything(t, engine);
    },
  );
}
