import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDockerd } from '../helpers/dockerd.ts';
import { openNeighbour, skipWithoutNeighbour } from '../helpers/neighbour.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { openStage } from '../helpers/stage.ts';
import { startService } from '../helpers/torrent-service.ts';

test(
  'a squashed image is not taken from another host over plain HTTP without --insecure; the receipt says whose word it is',
  { skip: skipWithoutNeighbour() || skipWithout('root', 'dockerd', 'docker', 'docker-registry') },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const stage = await openStage(t);
    const image = await stage.layout.addImage({ layers: [{ entries: [{ name: 'a', content: 'a' }] }] });
    await stage.push(image.manifest, 'team/app:1.0');
    const name = stage.name('team/app:1.0');
    const { host } = new URL(`http://${name}`);
    const service = await startService(t, {
      upstream: stage.registry.url,
      aliases: [host],
      listen: { host: neighbour.here, port: 0 },
    });
    const engine = await startDockerd(t);
    const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
    const pull = ['docker', 'torrent', 'pull', name, '--squashed', '--torrent-service', service.url];
    const { code, stderr } = await node.run(pull);
    assert.notEqual(code, 0);
    assert.match(stderr, /plain HTTP/);
    assert.match(stderr, /hint: .*--insecure/);
    assert.doesNotMatch(stderr, /verified/);
    assert.equal((await engine.docker('images', '-q')).stdout, '');
    const allowed = await node.run([...pull, '--insecure', '--json']);
    assert.equal(allowed.code, 0, allowed.stderr);
    assert.match(allowed.stderr, /verified against what the torrent service says/);
    const { vouchedBy } = JSON.parse(allowed.stdout) as { vouchedBy?: string };
    assert.equal(vouchedBy, 'service');
  },
);
