import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DOCKERD_KINDS, skipWithoutDockerd, startDockerd } from '../helpers/dockerd.ts';
import { randomLayer } from '../helpers/images.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { openStage, receiptOf } from '../helpers/stage.ts';

const BASE_BYTES = 3_000_000;
const TOP_BYTES = 6_000_000;
/** So slow that there is time to remove an image while the next one is downloaded. */
const LINK = 3_000_000;

for (const kind of DOCKERD_KINDS) {
  const skip = skipWithoutDockerd(kind, 'docker-registry');
  describe(`a base that is removed from Docker while it is needed (${kind})`, { skip }, () => {
    test('is fetched, and the image can be run', async (t) => {
      const stage = await openStage(t);
      const engine = await startDockerd(t, [], kind);
      const base = randomLayer(BASE_BYTES, 'base');
      for (const tag of ['1', '2']) {
        const layers = [base, randomLayer(TOP_BYTES, `top-${tag}`)];
        const built = await stage.layout.addImage({ layers });
        await stage.push(built.manifest, `team/app:${tag}`);
      }
      const args = (tag: string): string[] => [
        ...['docker', 'torrent', 'pull', stage.name(`team/app:${tag}`), '--json'],
        ...['--torrent-service', stage.service.url],
      ];
      const env = { DOCKER_HOST: engine.dockerHost };
      receiptOf(await (await quayctlNode(t, { env })).run(args('1')));
      stage.pipe.link.bytesPerSecond = LINK;
      // Another machine's store, so that only Docker has the base.
      const node = await quayctlNode(t, { env });
      const pull = node.start(args('2'));
      await pull.waitFor(/layer is in Docker already/);
      assert.equal((await engine.docker('rmi', stage.name('team/app:1'))).code, 0);
      const exit = await pull.exited;
      const receipt = receiptOf({ ...exit, stdout: pull.stdout(), stderr: pull.stderr() });
      assert.match(pull.stderr(), /was removed from the engine meanwhile; it is fetched/);
      assert.equal(receipt.total.alreadyInEngine, 0);
      const created = await engine.docker('create', '--network=none', stage.name('team/app:2'), '/none');
      assert.equal(created.code, 0, created.stderr);
    });
  });
}
