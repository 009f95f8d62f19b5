import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour, type Neighbour } from '../helpers/neighbour.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

interface Stage {
  readonly registry: TestRegistry;
  readonly service: TestService;
  readonly neighbour: Neighbour;
}

async function stage(t: TestContext): Promise<Stage> {
  const neighbour = await openNeighbour(t);
  const registry = await startRegistry(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const { manifest } = await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
  const service = await startService(t, {
    upstream: registry.url,
    aliases: ['quay.example'],
    listen: { host: neighbour.here, port: 0 },
  });
  return { registry, service, neighbour };
}

const skip = skipWithoutNeighbour() || skipWithout('docker-registry');

test('under /v2/ another registry in ns is 404, and no credential goes upstream', { skip }, async (t) => {
  const { registry, service, neighbour } = await stage(t);
  const before = registry.requests().length;
  const authorization = `Basic ${Buffer.from('me:of-another-registry').toString('base64')}`;
  const paths = ['/v2/', '/v2/team/app/manifests/1.0', '/v2/team/app/tags/list', `/v2/team/app/blobs/x`];
  const namespaces = [
    'ns=docker.io',
    'ns=',
    'ns=quay.example&ns=docker.io',
    '%6Es=docker.io',
    'ns=evil.example',
  ];
  const refused = await neighbour.ask(
    paths.flatMap((path) =>
      namespaces.map((ns) => ({
        url: `${service.url}${path}?${ns}`,
        headers: { authorization, host: 'evil.example' },
      })),
    ),
  );
  assert.deepEqual([...new Set(refused.map(({ status }) => status))], [404]);
  assert.ok(refused.every(({ body }) => body.includes('NAME_UNKNOWN')));
  assert.equal(registry.requests().length, before);
});

test(
  'under /v2/ the names of the upstream in ns, and none, are answered as by the upstream',
  { skip },
  async (t) => {
    const { registry, service, neighbour } = await stage(t);
    const names = [
      '',
      `?ns=${registry.host}`,
      '?ns=quay.example',
      '?ns=QUAY.example:443',
      `?ns=${service.host}`,
    ];
    const answers = await neighbour.ask(
      names.map((ns) => ({
        url: `${service.url}/v2/team/app/manifests/1.0${ns}`,
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
      })),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 200, 200, 200],
    );
    const [tags] = await neighbour.ask([{ url: `${service.url}/v2/team/app/tags/list?n=1&ns=quay.example` }]);
    assert.equal(tags?.status, 200);
    // What stands between the caller and this service is not handed on.
    assert.ok(registry.requests().includes('GET /v2/team/app/tags/list?n=1 200'), registry.log());
  },
);

test(
  'the address that was connected to is a name of the service, its Host header is not',
  { skip },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
    const service = await startService(t, {
      upstream: `oci:${layout.directory}`,
      listen: { host: '0.0.0.0', port: 0 },
      publicUrl: 'http://torrents.example',
    });
    const { port } = new URL(service.url);
    const here = `${neighbour.here}:${port}`;
    const squash = `http://${here}/c1/squash/team/app/1.0?wait=30&ns=`;
    const answers = await neighbour.ask([
      { url: `${squash}${here}` },
      { url: `${squash}torrents.example:80` },
      { url: `${squash}quay.io`, headers: { host: 'quay.io' } },
      { url: `${squash}localhost:${port}`, headers: { host: `localhost:${port}` } },
      { url: `http://${here}/c1/aci/quay.io/team/app/1.0/aci/linux/amd64/`, headers: { host: 'quay.io' } },
    ]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 404, 404, 404],
    );
    const [page] = await neighbour.ask([
      { url: `http://${here}/team/app?ac-discovery=1`, headers: { host: 'quay.io' } },
    ]);
    assert.match(page?.body ?? '', /torrents\.example/);
    assert.doesNotMatch(page?.body ?? '', /quay\.io/);
  },
);
