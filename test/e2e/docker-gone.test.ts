import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { DOCKERD_KINDS, skipWithoutDockerd, startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { randomLayer, type BuiltImage } from '../helpers/images.ts';
import { mustRun } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { assertFails, openStage, receiptOf, type Stage } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';

const IMAGE = 'team/app:1.0';
const LAYER_BYTES = 9_000_000;
/** So slow that Docker has the first layers long before the last has come. */
const LINK = 9_000_000;

for (const kind of DOCKERD_KINDS) {
  describe(`Docker while it loads (${kind})`, { skip: skipWithoutDockerd(kind, 'docker-registry') }, () => {
    const scope = suiteScope();
    let stage: Stage;
    let image: BuiltImage;
    const id = (): string => (kind === 'containerd' ? image.manifest.digest : image.config.digest);

    before(async () => {
      stage = await openStage(scope);
      image = await stage.layout.addImage({
        layers: ['a', 'b', 'c'].map((seed) => randomLayer(LAYER_BYTES, seed)),
      });
      await stage.push(image.manifest, IMAGE);
      stage.pipe.link.bytesPerSecond = LINK;
    });
    const args = (): string[] => [
      ...['docker', 'torrent', 'pull', stage.name(IMAGE), '--json'],
      ...['--torrent-service', stage.service.url],
    ];

    for (const end of ['kill', 'stop'] as const) {
      const signal = end === 'kill' ? 'SIGKILL' : 'SIGTERM';
      test(`gets ${signal} and is started again: the pull goes on, and no temporary image is left`, async (t) => {
        const engine = await startDockerd(t, [], kind);
        const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
        const pull = node.start(args());
        await pull.waitFor(/Completed[\s\S]*Completed/);
        await engine[end]();
        await engine.restart();
        const exit = await pull.exited;
        receiptOf({ ...exit, stdout: pull.stdout(), stderr: pull.stderr() });
        await hasOnly(engine, [id()]);
      });
    }

    test('has a full disk: 5 and what to do, nothing is left; after that it goes on from the store', async (t) => {
      const disk = join(await tempDirectory(t, 'small-disk'), 'data');
      await mkdir(disk);
      await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'quayctl-test', disk]);
      const engine = await startDockerd(t, [`--data-root=${disk}`], kind);
      const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
      const full = await node.run(args());
      assertFails(full, 5, 'engine');
      assert.match(full.stderr, /^hint: .*prune/m);
      await hasOnly(engine, []);
      await mustRun('mount', ['-o', 'remount,size=200m', disk]);
      const { total } = receiptOf(await node.run(args()));
      assert.ok(total.fromStore > 0, full.stderr);
      await hasOnly(engine, [id()]);
    });
  });
}

async function hasOnly(engine: TestDockerd, ids: readonly string[]): Promise<void> {
  const { stdout } = await engine.docker('images', '--all', '--quiet', '--no-trunc');
  assert.deepEqual(
    stdout.split('\n').filter((line) => line !== ''),
    ids,
  );
}
