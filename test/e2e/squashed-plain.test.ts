import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDockerd } from '../helpers/dockerd.ts';
import { TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour } from '../helpers/neighbour.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { makeRkt } from '../helpers/rkt.ts';
import { openStage } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const skip = skipWithoutNeighbour() || skipWithout('gpg', 'xz');

test(
  'a squashed image is not taken from another host over plain HTTP without --insecure; the receipt says whose word it is',
  { skip: skip || skipWithout('root', 'dockerd', 'docker', 'docker-registry') },
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

test('nor is an ACI; one whose signature is not looked at is told so', { skip }, async (t) => {
  const neighbour = await openNeighbour(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [{ entries: [{ name: 'a', content: 'a' }] }] }, 'team/app:1.0');
  const service = await startService(t, {
    upstream: `oci:${layout.directory}`,
    aliases: ['quay.example'],
    listen: { host: neighbour.here, port: 0 },
  });
  const rkt = await makeRkt(t);
  const node = await quayctlNode(t, { env: rkt.env });
  const pull = ['rkt', 'torrent', 'pull', 'quay.example/team/app:1.0', '--torrent-service', service.url];
  const refused = await node.run(pull);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /ACIs are taken .* over HTTPS only.*\nhint: .*--insecure/);
  const unchecked = await node.run([...pull, '--insecure', '--insecure-options=image', '--json']);
  assert.equal(unchecked.code, 0, unchecked.stderr);
  assert.match(unchecked.stderr, /verified against what the torrent service says/);
  assert.equal((JSON.parse(unchecked.stdout) as { vouchedBy?: string }).vouchedBy, 'service');
});
