import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { AdminOptions } from '../../src/admin/admin-listener.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour } from '../helpers/neighbour.ts';
import type { Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const TOKEN = 'a-token-of-the-operator';

async function serve(t: Scope, admin: AdminOptions, host = '127.0.0.1'): Promise<TestService> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  return startService(t, { upstream: `oci:${layout.directory}`, admin, listen: { host, port: 0 } });
}

test('metrics are on the admin listener, and not on the public port', async (t) => {
  const service = await serve(t, { place: { host: '127.0.0.1', port: 0 } });
  assert.equal((await fetch(`${service.url}/metrics`)).status, 404);
  assert.equal((await fetch(`${service.adminUrl}/metrics`)).status, 200);
  assert.equal((await fetch(`${service.adminUrl}/v2/`)).status, 404);
  for (const url of [service.url, service.adminUrl]) {
    assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { status: 'ok' });
    assert.deepEqual(await (await fetch(`${url}/readyz`)).json(), { status: 'ok' });
  }
});

test('a Unix socket is for this user alone, and one that was left behind is no hindrance', async (t) => {
  const path = join(await tempDirectory(t), 'admin.sock');
  const ask = async (): Promise<string> => {
    const asking = request({ socketPath: path, path: '/metrics' });
    asking.end();
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    return text(answer);
  };
  const service = await serve(t, { place: { path } });
  assert.equal(service.adminUrl, `unix:${path}`);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.match(await ask(), /^quayctl_swarms 0$/m);
  await assert.rejects(serve(t, { place: { path } }), { code: 'port' });
  await service.close();
});

test('another address than loopback needs a token', { skip: skipWithoutNeighbour() }, async (t) => {
  const neighbour = await openNeighbour(t);
  const { here } = neighbour;
  const place = { host: here, port: 0 };
  await assert.rejects(serve(t, { place }), { code: 'usage', message: /--admin-listen/ });
  await assert.rejects(serve(t, { place: { host: '0.0.0.0', port: 0 } }), { code: 'usage' });
  const service = await serve(t, { place, token: TOKEN }, here);
  const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
  const wrong = ['Bearer x', `Basic ${TOKEN}`, basic(TOKEN), basic(`${TOKEN}:x`), `Bearer ${TOKEN}x`];
  const shown = [undefined, ...wrong, `Bearer ${TOKEN}`, basic(`:${TOKEN}`), basic(`admin:${TOKEN}`)];
  const answers = await neighbour.ask(
    shown.map((authorization) => ({
      url: `${service.adminUrl}/metrics`,
      headers: authorization === undefined ? {} : { authorization },
    })),
  );
  assert.deepEqual(
    answers.map(({ status }) => status),
    [401, 401, 401, 401, 401, 401, 200, 200, 200],
  );
  const [metrics] = await neighbour.ask([{ url: `${service.url}/metrics` }]);
  assert.equal(metrics?.status, 404);
});

test('a page in the browser of the operator cannot read it under a name of its own', async (t) => {
  const service = await serve(t, { place: { host: '127.0.0.1', port: 0 } });
  const { port } = new URL(service.adminUrl ?? '');
  const statuses: (number | undefined)[] = [];
  for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `evil.example:${port}`]) {
    const asking = request({ host: '127.0.0.1', port, path: '/metrics', headers: { host } });
    asking.end();
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    answer.resume();
    statuses.push(answer.statusCode);
  }
  assert.deepEqual(statuses, [200, 200, 401]);
});
