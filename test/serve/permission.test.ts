import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout, type BuiltImage } from '../helpers/images.ts';
import { mustRun, run } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const SKIP = { skip: skipWithout('docker-registry', 'htpasswd') };
const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const RIGHT = basic('alice', 'right-password');
const WRONG = basic('alice', 'wrong-password');

async function privateRegistry(
  t: TestContext,
): Promise<{ registry: TestRegistry; image: BuiltImage; digest: string }> {
  const auth = { kind: 'htpasswd', username: 'alice', password: 'right-password' } as const;
  const registry = await startRegistry(t, { auth });
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(100_000, 'a')] }, 'team/app:1.0');
  const target = { url: registry.url, repository: 'team/app', tag: '1.0', authorization: RIGHT };
  await pushImage(layout, image.manifest, target);
  return { registry, image, digest: image.layers[0]?.digest ?? '' };
}

test("the caller's own credential decides, for every question", SKIP, async (t) => {
  const { registry, digest } = await privateRegistry(t);
  const service = await startService(t, { upstream: registry.url });
  for (const round of ['before there are hashes', 'after']) {
    const anonymous = await service.torrent('team/app', digest);
    assert.equal(anonymous.status, 401, round);
    assert.equal(anonymous.headers.get('www-authenticate'), 'Basic realm="test"');
    assert.equal(anonymous.headers.get('quay-torrent'), '1');
    assert.equal((await service.torrent('team/app', digest, { authorization: WRONG })).status, 401, round);
    if (round === 'after') break;
    assert.equal((await service.torrent('team/app', digest, { authorization: RIGHT })).status, 200, round);
  }
  const other = await service.torrent('team/other', digest, { authorization: RIGHT });
  assert.equal(other.status, 404, 'a blob of another repository');
});

test(
  'the torrent of a private blob has no web seed: the service could not read it by itself',
  SKIP,
  async (t) => {
    const { registry, digest } = await privateRegistry(t);
    const service = await startService(t, { upstream: registry.url });
    const answer = await service.torrent('team/app', digest, { authorization: RIGHT });
    assert.deepEqual(decodeTorrent(Buffer.from(await answer.arrayBuffer())).urlList, []);
  },
);

test('no credential is kept, logged or written down', SKIP, async (t) => {
  const { registry, digest } = await privateRegistry(t);
  const service = await startService(t, { upstream: registry.url });
  await service.torrent('team/app', digest, { authorization: RIGHT });
  await service.torrent('team/app', digest, { authorization: WRONG });
  const secret = RIGHT.slice('Basic '.length);
  assert.ok(!JSON.stringify(service.events).includes(secret));
  const { code } = await run('grep', ['-rqaF', '-e', secret, '-e', 'right-password', service.data]);
  assert.equal(code, 1);
});

test(
  'skopeo logs in at the registry through the service',
  { skip: SKIP.skip || skipWithout('skopeo') },
  async (t) => {
    const { registry } = await privateRegistry(t);
    const service = await startService(t, { upstream: registry.url });
    const out = join(await tempDirectory(t, 'copy'), 'out');
    const args = ['--src-tls-verify=false', `docker://${service.host}/team/app:1.0`, `oci:${out}:x`];
    await mustRun(programPath('skopeo'), ['copy', '--src-creds', 'alice:right-password', ...args]);
    const denied = await run(programPath('skopeo'), ['copy', '--src-creds', 'alice:wrong', ...args]);
    assert.notEqual(denied.code, 0);
    assert.match(denied.stderr, /unauthorized|authentication required/);
  },
);

test(
  'other hosts cannot reach the service in front of a registry that wants credentials',
  SKIP,
  async (t) => {
    const { registry } = await privateRegistry(t);
    const open = { upstream: registry.url, publicUrl: 'http://service.example' };
    for (const host of ['0.0.0.0', '::']) {
      await assert.rejects(startService(t, { ...open, listen: { host, port: 0 } }), {
        code: 'usage',
        message: /wants credentials/,
        hint: /anonymous tokens counts as wanting credentials/,
      });
    }
  },
);

test('in front of an open registry, and of a layout, other hosts may', SKIP, async (t) => {
  const registry = await startRegistry(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  for (const upstream of [registry.url, `oci:${layout.directory}`]) {
    const listen = { host: '0.0.0.0', port: 0 };
    const service = await startService(t, { upstream, listen, publicUrl: 'http://service.example/quay/' });
    await service.close();
  }
});

test('options that do not fit each other are usage errors', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const oci = `oci:${layout.directory}`;
  for (const [options, message] of [
    [{ upstream: 'http://registry.example' }, /plain HTTP to another host/],
    [{ upstream: 'ftp://registry.example' }, /--upstream/],
    [{ upstream: 'https://registry.example/path' }, /--upstream/],
    [{ upstream: 'https://user:hunter2@registry.example' }, /user name or password/],
    [{ upstream: 'oci:' }, /the directory is missing/],
    [{ upstream: oci, listen: { host: '0.0.0.0', port: 0 } }, /no address that clients could be told/],
    [{ upstream: oci, publicUrl: 'service.example' }, /--public-url/],
    [{ upstream: oci, announce: 'tracker' }, /--announce/],
    [{ upstream: oci, tls: { cert: 'none', key: 'none' } }, /TLS certificate/],
  ] as const) {
    await assert.rejects(
      startService(t, options),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'usage');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      },
      JSON.stringify(options),
    );
  }
  await assert.rejects(startService(t, { upstream: `${oci}/nowhere` }), { code: 'unreachable' });
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.after(() => void other.close());
  const { port } = other.address() as AddressInfo;
  await assert.rejects(startService(t, { upstream: oci, listen: { host: '127.0.0.1', port } }), {
    code: 'port',
  });
});

test('on loopback the service starts before its registry does', async (t) => {
  const service = await startService(t, { upstream: 'http://127.0.0.1:1' });
  assert.ok(service.events.some((event) => event.kind === 'warning'));
  assert.equal((await fetch(`${service.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${service.url}/readyz`)).status, 503);
});
