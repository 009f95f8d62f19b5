import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const TOKEN = 'a-token-of-the-operator';

test('quayctl status tells what was saved, swarms and nodes; over a socket, with a token, as JSON', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(3_000_000, 'a')] }, 'team/app:1.0');
  const { digest = '', size = 0 } = image.layers[0] ?? {};
  const path = join(await tempDirectory(t), 'admin.sock');
  const service = await startService(t, {
    upstream: `oci:${layout.directory}`,
    admin: { place: { path }, token: TOKEN },
  });
  const torrent = decodeTorrent(await (await service.torrent('team/app', digest)).bytes());
  const report = {
    ...{ version: '\u009b31m9.9', peer: 'ab'.repeat(20), port: 7001, size, have: size, given: 5, seconds: 1 },
    ...{ fromPeers: size - 1_000_000, fromRegistry: 1_000_000, told: [0, 0], state: 'pulling' },
  };
  const tell = async (body: object): Promise<number> =>
    (
      await fetch(`${service.url}/c1/report`, {
        method: 'POST',
        headers: { authorization: `Bearer ${torrent.trackers[0]?.token?.jwt ?? ''}` },
        body: JSON.stringify(body),
      })
    ).status;
  assert.equal(await tell(report), 400, 'no control characters');
  assert.equal(await tell({ ...report, version: '9.9' }), 200);

  const node = await quayctlNode(t);
  const file = join(node.home, 'token');
  await writeFile(file, `${TOKEN}\n`);
  const admin = ['--admin', `unix:${path}`];
  const refused = await node.run(['status', ...admin]);
  assert.equal(refused.code, 3, refused.stderr);
  assert.match(refused.stderr, /--admin-token-file/);
  const shown = await node.run(['status', ...admin, '--admin-token-file', file]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /^2\.\d+ MB saved in 24 hours, 67 % of 3\.\d+ MB came from peers$/m);
  assert.match(shown.stdout, /^team\/app +sha256:[0-9a-f]{12} +3\.\d+ MB +100 % +0 +1 /m);
  assert.match(shown.stdout, /^127\.0\.0\.1:7001 +pulls 1 +3\.\d+ MB +67 % +5 B/m);
  const json = await node.run(['status', ...admin, '--admin-token-file', file, '--json']);
  const { status } = JSON.parse(json.stdout) as { status: { day: object } };
  assert.deepEqual(status.day, { fromPeers: size - 1_000_000, fromRegistry: 1_000_000 });

  const nobody = await node.run(['status', '--admin', 'http://127.0.0.1:9']);
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /nobody answers at http:\/\/127\.0\.0\.1:9/);
});

test('a mirror tells of itself: what came from the registry, by its name, on the same page and as metrics', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(2_000_000, 'b')] }, 'team/app:1.0');
  const { digest = '', size = 0 } = image.layers[0] ?? {};
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const node = await quayctlNode(t);
  const path = join(await tempDirectory(t), 'mirror.sock');
  const mirror = node.start([
    ...['mirror', '--registry', `${service.host}=${service.url}`, '--listen', '127.0.0.1:0', '--plain'],
    ...['--control', join(node.home, 'mirror.sock')],
    ...['--admin-listen', `unix:${path}`, '--lower-port', '20000', '--upper-port', '29999'],
  ]);
  const [url] = await mirror.waitFor(/^http:\S+$/m);
  for (const what of ['manifests/1.0', `blobs/${digest}`])
    assert.equal((await fetch(`${url}/v2/team/app/${what}?ns=${service.host}`)).status, 200, what);
  await mirror.waitFor(/from the registry/);
  const shown = await node.run(['status', '--admin', `unix:${path}`]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.ok(shown.stdout.startsWith(`mirror of ${service.host}\n`), shown.stdout);
  const { status } = JSON.parse((await node.run(['status', '--admin', `unix:${path}`, '--json'])).stdout) as {
    status: { total: { fromRegistry: number; fromPeers: number } };
  };
  assert.ok(status.total.fromRegistry >= size, JSON.stringify(status.total));
  assert.equal(status.total.fromPeers, 0);
});
