import assert from 'node:assert/strict';
import { before, describe, test, type TestContext } from 'node:test';
import { DOCKERD_KINDS, skipWithoutDockerd, startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { startPodman } from '../helpers/podman.ts';
import { skipWithout } from '../helpers/programs.ts';
import type { HttpFault } from '../helpers/fault-proxy.ts';
import { randomLayer, type BuiltImage } from '../helpers/images.ts';
import type { Output } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { assertFails, openStage, receiptOf, type Stage } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

const IMAGE = 'team/app:1.0';
const LAYER_BYTES = 9_000_000;

/** The layers go into Docker while they arrive, before their digest is known to be right. */
for (const kind of DOCKERD_KINDS) {
  describe(`a registry that lies (${kind})`, { skip: skipWithoutDockerd(kind, 'docker-registry') }, () => {
    const scope = suiteScope();
    let stage: Stage;
    let engine: TestDockerd;
    let image: BuiltImage;

    before(async () => {
      stage = await openStage(scope);
      engine = await startDockerd(scope, [], kind);
      const base = randomLayer(LAYER_BYTES, 'base');
      image = await stage.layout.addImage({
        layers: [{ ...base, compression: 'none' }, randomLayer(LAYER_BYTES, 'top')],
      });
      await stage.push(image.manifest, IMAGE);
    });

    /** Without a torrent, so that nothing is known of the bytes but the digest of the whole. */
    async function pull(t: TestContext, fault: HttpFault): Promise<Output> {
      stage.pipe.faults.splice(0, Infinity, fault);
      const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
      return node.run(['docker', 'torrent', 'pull', stage.name(IMAGE), '--json']);
    }

    for (const at of [0, 1]) {
      const which = at === 0 ? 'base' : 'upper';
      const spots = {
        'in the middle': (size: number) => size >> 1,
        'at the end': (size: number) => size - 1,
      };
      for (const [place, spot] of Object.entries(spots)) {
        test(`${place} of the ${which} layer: 6, and nothing is in the engine`, async (t) => {
          const layer = image.layers[at];
          assert.ok(layer);
          const match = new RegExp(layer.digest);
          assertFails(await pull(t, { match, corruptAt: spot(layer.size) }), 6, 'verification');
          assert.equal((await engine.docker('images', '--all', '--quiet')).stdout, '');
        });
      }
      test(`once in the ${which} layer: it is fetched and loaded again`, async (t) => {
        const layer = image.layers[at];
        assert.ok(layer);
        const fault = { match: new RegExp(layer.digest), corruptAt: layer.size >> 1, times: 1 };
        receiptOf(await pull(t, fault));
        const { stdout } = await engine.docker('images', '--all', '--quiet');
        assert.equal(stdout.trim().split('\n').length, 1);
        assert.equal((await engine.docker('create', '--network=none', stage.name(IMAGE), '/none')).code, 0);
        const { stdout: containers } = await engine.docker('ps', '--all', '--quiet');
        await engine.docker('rm', containers.trim());
        await engine.docker('rmi', stage.name(IMAGE));
        assert.equal((await engine.docker('images', '--all', '--quiet')).stdout, '');
      });
    }
  });
}

/** podman compares no layer with a digest: what breaks off must be enough. */
const skipPodman = skipWithout('root', 'podman', 'docker-registry');
test(
  'a registry that lies to podman: 6, and nothing is in the engine; once: it is loaded',
  { skip: skipPodman },
  async (t) => {
    const stage = await openStage(t);
    const podman = await startPodman(t);
    const image = await stage.layout.addImage({
      layers: [{ ...randomLayer(LAYER_BYTES, 'podman'), compression: 'none' }],
    });
    await stage.push(image.manifest, IMAGE);
    const [layer] = image.layers;
    assert.ok(layer);
    const match = new RegExp(layer.digest);
    const pull = async (fault: HttpFault): Promise<Output> => {
      stage.pipe.faults.splice(0, Infinity, fault);
      const node = await quayctlNode(t, { env: { CONTAINER_HOST: podman.dockerHost } });
      return node.run(['podman', 'torrent', 'pull', stage.name(IMAGE), '--json']);
    };
    for (const corruptAt of [layer.size >> 1, layer.size - 1]) {
      assertFails(await pull({ match, corruptAt }), 6, 'verification');
      assert.equal((await podman.podman('images', '--all', '--quiet')).stdout, '');
    }
    receiptOf(await pull({ match, corruptAt: layer.size >> 1, times: 1 }));
    assert.notEqual((await podman.podman('images', '--all', '--quiet')).stdout, '');
  },
);
