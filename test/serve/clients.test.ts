import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { Shares } from '../../src/http-server/shares.ts';
import type { TorrentServiceOptions } from '../../src/serve/torrent-service.ts';
import type { AttackOptions } from '../helpers/attacker-process.ts';
import { makeAuthority } from '../helpers/certificate.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour, type Neighbour } from '../helpers/neighbour.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

interface Stage {
  readonly neighbour: Neighbour;
  readonly service: TestService;
  readonly layer: string;
}

async function stage(
  t: TestContext,
  options: Partial<TorrentServiceOptions> = {},
  layerBytes = 1000,
): Promise<Stage> {
  const neighbour = await openNeighbour(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(layerBytes, 'a')] }, 'team/app:1.0');
  const listen = { host: neighbour.here, port: 0 };
  const service = await startService(t, { upstream: `oci:${layout.directory}`, listen, ...options });
  return { neighbour, service, layer: image.layers[0]?.digest ?? '' };
}

const attackOn = (
  { service, neighbour }: Stage,
  path: string,
  more: Partial<AttackOptions> = {},
): AttackOptions => ({
  url: service.url,
  paths: [path],
  from: neighbour.addresses.slice(0, 1),
  connections: 1,
  requests: 1,
  ...more,
});

const skip = skipWithoutNeighbour();

test('pipelined requests are answered one after the other, in their order', { skip }, async (t) => {
  const { service } = await stage(t);
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  const paths = ['/healthz', '/v2/', '/nothing', '/readyz'];
  socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
  const statuses = (): string[] =>
    [...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status);
  while (statuses().length < paths.length) await sleep(10);
  assert.deepEqual(statuses(), ['200', '200', '404', '200']);
  socket.destroy();
});

test(
  'ten thousand pipelined requests on one connection reach the upstream one at a time, and end it',
  { skip: skip || skipWithout('docker-registry') },
  async (t) => {
    const registry = await startRegistry(t);
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const { manifest } = await layout.addImage({ layers: [randomLayer(1000, 'a')] });
    await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    const proxy = await startHttpFaultProxy(t, registry.url);
    const here = await stage(t, { upstream: proxy.url });
    proxy.faults.push({ delayMs: 200 });
    const before = proxy.requests.length;
    const attack = attackOn(here, '/v2/team/app/manifests/1.0', { requests: 10_000 });
    const attacker = await here.neighbour.attack('flood', attack);
    await attacker.waitFor(/"ended":1/);
    assert.ok(proxy.requests.length - before <= 6, `${proxy.requests.length - before} questions`);
    assert.equal((await fetch(`${here.service.url}/healthz`)).status, 200);
  },
);

test(
  'readers who take twenty bytes a second are put out, readers who wait for us are not',
  { skip },
  async (t) => {
    const here = await stage(t, { bounds: { readerPatienceMs: 2000 } }, 64_000_000);
    const attack = attackOn(here, `/v2/team/app/blobs/${here.layer}`, { connections: 20 });
    await here.neighbour.attack('drip', attack);
    const putOut = (): number =>
      here.service.events.filter((event) => event.kind === 'request' && event.aborted).length;
    while (putOut() < 20) await sleep(50);
    const whole = await fetch(`${here.service.url}/v2/team/app/blobs/${here.layer}`);
    assert.equal((await whole.arrayBuffer()).byteLength, Number(whole.headers.get('content-length')));
  },
);

test('requests that never end are put out', { skip }, async (t) => {
  const here = await stage(t);
  const attacker = await here.neighbour.attack('halves', attackOn(here, '/', { connections: 100 }));
  await attacker.waitFor(/"ended":100/, 40_000);
});

test(
  'a connection to the TLS port that says nothing is put out',
  { skip: skip || skipWithout('openssl') },
  async (t) => {
    const { certificatePem: cert, keyPem: key } = await (await makeAuthority(t)).issue(['DNS:service']);
    const here = await stage(t, { tls: { cert, key } });
    const attacker = await here.neighbour.attack('open', attackOn(here, '/', { connections: 10 }));
    await attacker.waitFor(/"ended":10/, 30_000);
  },
);

test(
  'a site does not get all connections; where all are taken the largest site makes room',
  { skip },
  async (t) => {
    const bounds = { connections: { most: 40, mostEach: 30 } };
    const here = await stage(t, { bounds });
    const { neighbour, service } = here;
    const [first = '', second = ''] = neighbour.addresses;
    const one = await neighbour.attack('open', attackOn(here, '/', { connections: 35, from: [first] }));
    await one.waitFor(/"ended":5\b/);
    const two = await neighbour.attack('open', attackOn(here, '/', { connections: 12, from: [second] }));
    await one.waitFor(/"ended":7\b/);
    await two.waitFor(/"ended":0/);
    assert.equal((await fetch(`${service.url}/healthz`)).status, 200);
  },
);

test('the addresses of one IPv6 network are one site', { skip }, async (t) => {
  const neighbour = await openNeighbour(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const service = await startService(t, {
    upstream: `oci:${layout.directory}`,
    listen: { host: neighbour.here6, port: 0 },
    bounds: { connections: { most: 1000, mostEach: 30 } },
  });
  const attack = { url: service.url, paths: ['/'], connections: 60, requests: 1 };
  const same = await neighbour.attack('open', { ...attack, from: neighbour.addresses6.slice(0, 12) });
  await same.waitFor(/"ended":30\b/);
  const other = neighbour.addresses6.at(-1) ?? '';
  const [answer] = await neighbour.ask([{ url: `${service.url}/healthz`, from: other }]);
  assert.equal(answer?.status, 200);
});

test(
  'where too many requests of a site are under way it is told so, others and health are answered',
  { skip },
  async (t) => {
    const here = await stage(t);
    const { neighbour, service } = here;
    const registry = await startHttpFaultProxy(t, service.url);
    registry.faults.push({ silent: true });
    const behind = await startService(t, {
      upstream: registry.url,
      listen: { host: neighbour.here, port: 0 },
    });
    const attack = { ...attackOn(here, '/v2/team/app/manifests/1.0'), url: behind.url, connections: 1100 };
    const attacker = await neighbour.attack('flood', attack);
    await attacker.waitFor(/"sent":1100/, 60_000);
    const [busy, health] = await neighbour.ask([
      { url: `${behind.url}/v2/`, from: neighbour.addresses[0] ?? '' },
      { url: `${behind.url}/healthz`, from: neighbour.addresses[0] ?? '' },
    ]);
    assert.deepEqual([busy?.status, busy?.headers['retry-after'], health?.status], [503, '5', 200]);
    const [other] = await neighbour.ask([
      { url: `${behind.url}/nothing`, from: neighbour.addresses[1] ?? '' },
    ]);
    assert.equal(other?.status, 404);
  },
);

test('shares are bounded in all and for each, and come back once', () => {
  const shares = new Shares({ most: 10, mostEach: 6 });
  const first = shares.take('a', 6);
  assert.ok(first);
  assert.equal(shares.take('a'), undefined);
  assert.equal(shares.take('b', 5), undefined);
  assert.ok(shares.take('b', 4));
  assert.equal(shares.take('c'), undefined);
  first();
  first();
  assert.ok(shares.take('c', 6));
  assert.equal(shares.take('d'), undefined);
});
