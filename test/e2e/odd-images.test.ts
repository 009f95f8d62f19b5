import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { DOCKERD_KINDS, skipWithoutDockerd, startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { randomLayer, type ImageSpec } from '../helpers/images.ts';
import type { LayerSpec } from '../helpers/layers.ts';
import { mustRun } from '../helpers/processes.ts';
import { programPath } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { openStage, receiptOf, verifiedBlobs, type Stage } from '../helpers/stage.ts';

const small = (seed: string): LayerSpec => randomLayer(20_000, seed);
const base: LayerSpec = {
  entries: [
    { name: 'etc/', type: 'directory', mode: 0o755 },
    { name: 'etc/kept', content: 'kept' },
    { name: 'etc/gone', content: 'gone' },
    { name: 'opt/', type: 'directory', mode: 0o755 },
    { name: 'opt/below', content: 'hidden by the opaque folder' },
  ],
};

const ODD: readonly {
  name: string;
  image: ImageSpec;
  holds?: readonly string[];
  lacks?: readonly string[];
}[] = [
  { name: 'one small layer', image: { layers: [small('one')] }, holds: ['data/one'] },
  { name: 'docker media types', image: { format: 'docker', layers: [base, small('docker')] } },
  {
    name: 'the same layer twice',
    image: { layers: [base, small('twice'), base, small('twice')] },
    holds: ['etc/kept'],
  },
  {
    name: 'an empty layer',
    image: { layers: [base, { entries: [] }, small('after')] },
    holds: ['data/after'],
  },
  {
    name: 'whiteouts',
    image: {
      layers: [
        base,
        {
          entries: [
            { name: 'etc/.wh.gone' },
            { name: 'opt/.wh..wh..opq' },
            { name: 'opt/new', content: 'x' },
          ],
        },
      ],
    },
    holds: ['etc/kept', 'opt/new'],
    lacks: ['etc/gone', 'opt/below', 'etc/.wh.gone'],
  },
  {
    name: 'hard links and symbolic links',
    image: {
      layers: [
        {
          entries: [
            { name: 'a', content: 'linked' },
            { name: 'b', type: 'link', linkname: 'a' },
            { name: 'c', type: 'symlink', linkname: 'nowhere' },
          ],
        },
      ],
    },
    holds: ['a', 'b', 'c'],
  },
  {
    name: '40 small layers',
    image: { layers: Array.from({ length: 40 }, (_, at) => randomLayer(2000 + at, `many${at}`)) },
    holds: ['data/many0', 'data/many39'],
  },
  {
    name: 'zstd, gzip and plain layers in one',
    image: {
      layers: [
        { ...small('zstd'), compression: 'zstd' },
        { ...small('gzip'), compression: 'gzip' },
        { ...small('none'), compression: 'none' },
      ],
    },
    holds: ['data/zstd', 'data/gzip', 'data/none'],
  },
];

for (const kind of DOCKERD_KINDS) {
  describe(
    `odd images reach a real Docker (${kind}) and an OCI layout`,
    { skip: skipWithoutDockerd(kind, 'docker-registry', 'skopeo') },
    () => {
      const scope = suiteScope();
      let stage: Stage;
      let engine: TestDockerd;
      before(async () => {
        stage = await openStage(scope);
        engine = await startDockerd(scope, [], kind);
      });

      for (const [at, { name, image, holds = [], lacks = [] }] of ODD.entries()) {
        test(name, async (t) => {
          const built = await stage.layout.addImage(image);
          const reference = `odd/image${at}:1`;
          await stage.push(built.manifest, reference);
          const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
          const flags = ['--json', '--torrent-service', stage.service.url];

          const pulled = await node.run(['docker', 'torrent', 'pull', stage.name(reference), ...flags]);
          const receipt = receiptOf(pulled);
          assert.equal(receipt.digest, built.manifest.digest);
          assert.deepEqual(
            receipt.layers.map(({ digest, size }) => [digest, size]),
            built.layers.map(({ digest, size }) => [digest, size]),
          );
          const inspected = await engine.api('GET', `/images/${stage.name(reference)}/json`);
          const id = kind === 'containerd' ? built.manifest.digest : built.config.digest;
          assert.equal((JSON.parse(inspected.text) as { Id: string }).Id, id);

          const files = await filesOf(engine, stage.name(reference));
          for (const path of holds) assert.ok(files.includes(path), `${path} is there`);
          for (const path of lacks) assert.ok(!files.includes(path), `${path} is not there`);

          const output = join(node.home, 'layout');
          receiptOf(await node.run(['torrent', 'pull', stage.name(reference), '--output', output, ...flags]));
          const blobs = await verifiedBlobs(output);
          for (const { digest } of [built.manifest, built.config, ...built.layers])
            assert.ok(blobs.has(digest));
        });
      }

      // The rest is not about the engine.
      if (kind !== 'debian') return;

      test('of an index, the entry for the platform that is asked for', async (t) => {
        const layers = (seed: string): readonly LayerSpec[] => [small(seed)];
        const { index, images } = await stage.layout.addIndex([
          { layers: layers('amd64'), architecture: 'amd64' },
          { layers: layers('v7'), architecture: 'arm', variant: 'v7' },
          { layers: layers('v8'), architecture: 'arm64', variant: 'v8' },
        ]);
        await stage.push(index, 'odd/index:1');
        const node = await quayctlNode(t);
        const flags = ['--json', '--torrent-service', stage.service.url];
        for (const [at, platform] of ['linux/amd64', 'linux/arm/v7', 'linux/arm64'].entries()) {
          const pulled = await node.run([
            'torrent',
            'pull',
            stage.name('odd/index:1'),
            '--platform',
            platform,
            ...flags,
          ]);
          const receipt = receiptOf(pulled);
          assert.equal(receipt.digest, images[at]?.manifest.digest, platform);
          assert.equal(receipt.index, index.digest);
        }
        const none = await node.run([
          'torrent',
          'pull',
          stage.name('odd/index:1'),
          '--platform',
          'linux/s390x',
          ...flags,
        ]);
        assert.equal(none.code, 4, none.stderr);
      });

      test('an image for one platform alone is not pulled for another that was asked for', async (t) => {
        const built = await stage.layout.addImage({ layers: [small('s390x')], architecture: 's390x' });
        await stage.push(built.manifest, 'odd/single:1');
        const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
        for (const command of [['torrent'], ['docker', 'torrent']]) {
          const pull = [...command, 'pull', stage.name('odd/single:1')];
          const other = await node.run([...pull, '--platform', 'linux/arm64']);
          assert.equal(other.code, 4, other.stderr);
          assert.match(other.stderr, /it is an image for linux\/s390x alone/);
          assert.equal((await node.run([...pull, '--platform', 'linux/s390x'])).code, 0);
        }
        const asItIs = await node.run(['docker', 'torrent', 'pull', stage.name('odd/single:1')]);
        assert.equal(asItIs.code, 0, asItIs.stderr);
        assert.match(asItIs.stderr, /^warning: the image is for linux\/s390x, docker runs linux/m);
      });

      test('skopeo reads the archive that is written', async (t) => {
        const built = await stage.layout.addImage({ layers: [base, small('archive')] });
        await stage.push(built.manifest, 'odd/archive:1');
        const node = await quayctlNode(t);
        const file = join(node.home, 'image.tar');
        receiptOf(
          await node.run(['torrent', 'pull', stage.name('odd/archive:1'), '--json', '--output', file]),
        );
        const manifest = await mustRun(programPath('skopeo'), ['inspect', '--raw', `oci-archive:${file}`]);
        assert.ok(manifest.includes(built.config.digest));
      });
    },
  );
}

/** The paths in the root file system of a container that is never started. */
async function filesOf(engine: TestDockerd, image: string): Promise<string[]> {
  const created = await engine.docker('create', '--network', 'none', image, '/none');
  assert.equal(created.code, 0, created.stderr);
  const id = created.stdout.trim();
  const listed = await mustRun('sh', [
    '-c',
    '"$0" --host "$1" export "$2" | tar -tf -',
    programPath('docker'),
    engine.dockerHost,
    id,
  ]);
  await engine.docker('rm', id);
  return listed.split('\n');
}
