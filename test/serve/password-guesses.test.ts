import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour } from '../helpers/neighbour.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

test(
  'a site that guesses passwords is stopped before the registry hears of it; other users and sites are not',
  { skip: skipWithoutNeighbour() || skipWithout('docker-registry', 'htpasswd') },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const auth = { kind: 'htpasswd', username: 'alice', password: 'wonder' } as const;
    const registry = await startRegistry(t, { auth });
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const { manifest } = await layout.addImage({ layers: [randomLayer(1000, 'a')] });
    const authorization = basic('alice', 'wonder');
    await pushImage(layout, manifest, {
      url: registry.url,
      repository: 'team/app',
      tag: '1.0',
      authorization,
    });
    const proxy = await startHttpFaultProxy(t, registry.url);
    const service = await startService(t, {
      upstream: proxy.url,
      aliases: ['quay.example'],
      listen: { host: neighbour.here, port: 0 },
    });
    const url = `${service.url}/c1/aci/quay.example/team/app/1.0/aci/linux/amd64/`;
    const [first = '', second = ''] = neighbour.addresses;
    const before = proxy.requests.length;
    const guesses = await neighbour.ask(
      Array.from({ length: 100 }, (_, at) => ({
        url,
        from: first,
        headers: { authorization: basic('alice', `guess-${at}`) },
      })),
    );
    const refused = guesses.filter(({ status }) => status === 429).length;
    assert.equal(refused, 40);
    assert.ok(proxy.requests.length - before <= 2 * 60, `${proxy.requests.length - before} questions`);
    const manifests = `${service.url}/v2/team/app/manifests/1.0`;
    const accept = manifest.mediaType;
    const [same, bob, elsewhere] = await neighbour.ask([
      { url: manifests, from: first, headers: { accept, authorization } },
      { url: manifests, from: first, headers: { accept, authorization: basic('bob', 'x') } },
      { url: manifests, from: second, headers: { accept, authorization } },
    ]);
    assert.deepEqual([same?.status, bob?.status, elsewhere?.status], [429, 401, 200]);
  },
);
