import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { parseReceipt } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';

const IMAGE = 'team/app:1.0';

test('serve --peers tls: a node gives an image to another over TLS; without the service there is no swarm', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [randomLayer(3_000_000, 'a')] }, IMAGE);
  const serve = [
    'serve',
    '--upstream',
    `oci:${layout.directory}`,
    '--listen',
    '127.0.0.1:0',
    '--admin-listen',
    'none',
  ];
  const server = await quayctlNode(t);
  const service = server.start([...serve, '--peers', 'tls']);
  const [url] = await service.waitFor(/^http:\S+$/m);
  const { host } = new URL(url);
  const [giver, taker] = [await quayctlNode(t), await quayctlNode(t)];
  const pull = ['torrent', 'pull', `${host}/${IMAGE}`, '--torrent-service', url, '--no-progress', '--json'];
  const seed = giver.start([...pull, '--seed-after', '10m']);
  await seed.waitFor(/^\{.*\}$/m, 60_000);

  const taken = taker.start([...pull, '--skip-web-seed', '--debug']);
  const [line] = await taken.waitFor(/^\{.*\}$/m, 60_000);
  assert.ok(parseReceipt(line).total.fromPeers >= 3_000_000, line);
  assert.equal((await taken.exited).code, 0, taken.stderr());

  await seed.kill();
  await service.kill();
  const again = giver.start([
    'torrent',
    'seed',
    `${host}/${IMAGE}`,
    '--torrent-service',
    url,
    '--offline-ok',
  ]);
  await again.waitFor(/only nodes with a live token may be in its swarm/, 60_000);
});
