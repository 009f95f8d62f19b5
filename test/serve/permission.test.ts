import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { startServer } from '../helpers/http-server.ts';
import { randomLayer, TestLayout, type BuiltImage } from '../helpers/images.ts';
import { mustRun, run } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startTokenServer } from '../helpers/token-server.ts';
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
    const asked = registry.requests().length;
    await service.torrent('team/app', digest, { authorization: RIGHT });
    assert.equal(registry.requests().length, asked, 'neither he nor we are asked about again at once');
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

test('beyond loopback without TLS the operator is warned where callers show credentials', SKIP, async (t) => {
  const { registry } = await privateRegistry(t);
  const open = { upstream: registry.url, publicUrl: 'http://service.example' };
  for (const [host, expected] of [
    ['0.0.0.0', true],
    ['127.0.0.1', false],
  ] as const) {
    const { events } = await startService(t, { ...open, listen: { host, port: 0 } });
    const warned = events.some((event) => event.kind === 'warning' && /in the clear/.test(event.message));
    assert.equal(warned, expected, host);
  }
});

test(
  'with a credential of its own the service reads by itself: one pass, and a web seed',
  SKIP,
  async (t) => {
    const { registry, digest } = await privateRegistry(t);
    const credential = { kind: 'basic', username: 'alice', password: 'right-password' } as const;
    const service = await startService(t, {
      upstream: registry.url,
      ownCredential: () => Promise.resolve(credential),
    });
    // What the service may read, strangers may not.
    assert.equal((await service.torrent('team/app', digest)).status, 401);
    assert.equal((await service.torrent('team/app', digest, { authorization: WRONG })).status, 401);
    const answer = await service.torrent('team/app', digest, { authorization: RIGHT });
    const { urlList } = decodeTorrent(Buffer.from(await answer.arrayBuffer()));
    const [url = ''] = urlList;
    const blob = await fetch(url);
    assert.equal(blob.status, 200);
    assert.equal(
      `sha256:${createHash('sha256')
        .update(await blob.bytes())
        .digest('hex')}`,
      digest,
    );
    assert.equal((await fetch(url.replace('team/app', 'team/other'))).status, 403);
    const reads = registry.requests().filter((line) => /^GET \S+\/blobs\/\S+ 200/.test(line));
    assert.equal(reads.length, 1, 'for hashing; the web seed gives what was read then');
  },
);

test('a wrong credential of its own costs the web seed, not the torrent', SKIP, async (t) => {
  const { registry, digest } = await privateRegistry(t);
  const credential = { kind: 'basic', username: 'alice', password: 'stale' } as const;
  const service = await startService(t, {
    upstream: registry.url,
    ownCredential: () => Promise.resolve(credential),
  });
  const answer = await service.torrent('team/app', digest, { authorization: RIGHT });
  assert.equal(answer.status, 200);
  assert.deepEqual(decodeTorrent(Buffer.from(await answer.arrayBuffer())).urlList, []);
});

test(
  'a granted permission serves while the upstream is down, for the grace and for its caller only',
  SKIP,
  async (t) => {
    const { registry, digest } = await privateRegistry(t);
    const proxy = await startHttpFaultProxy(t, registry.url);
    let now = 0;
    t.mock.method(performance, 'now', () => now);
    const service = await startService(t, { upstream: proxy.url, permissionGraceMs: 600_000 });
    const status = async (authorization?: string): Promise<number> => {
      const answer = await service.torrent(
        'team/app',
        digest,
        authorization === undefined ? {} : { authorization },
      );
      await answer.bytes();
      return answer.status;
    };
    assert.equal(await status(RIGHT), 200);
    await proxy.down();
    now = 599_000;
    assert.equal(await status(RIGHT), 200, 'within the grace');
    assert.equal(await status(WRONG), 502, 'somebody else');
    assert.equal(await status(), 502, 'a stranger');
    now = 601_000;
    assert.equal(await status(RIGHT), 502, 'beyond the grace');

    await proxy.up();
    assert.equal(await status(RIGHT), 200);
    // The cache of what was granted just now is not asked again, what is older is.
    proxy.faults.push({ status: 403 });
    now += 61_000;
    assert.equal(await status(RIGHT), 403);
    proxy.faults.length = 0;
    proxy.faults.push({ status: 503 });
    assert.equal(await status(RIGHT), 502, 'never after a 403');
  },
);

test('who is denied one blob has no grace for the others of that repository', SKIP, async (t) => {
  const { registry, digest, image } = await privateRegistry(t);
  const proxy = await startHttpFaultProxy(t, registry.url);
  const service = await startService(t, { upstream: proxy.url });
  const clock = t.mock.method(performance, 'now', () => 0);
  const status = async (blob: string): Promise<number> =>
    (await service.torrent('team/app', blob, { authorization: RIGHT })).status;
  assert.equal(await status(digest), 200);
  clock.mock.mockImplementation(() => 61_000);
  proxy.faults.push({ status: 401, times: 1 });
  assert.equal(await status(image.config.digest), 401);
  proxy.faults.length = 0;
  proxy.faults.push({ status: 503 });
  assert.equal(await status(digest), 502);
});

test('a token server is asked by callers and by the service itself', SKIP, async (t) => {
  const tokens = await startTokenServer(t, { users: { alice: 'right-password', robot: 'robot-password' } });
  const registry = await startRegistry(t, { auth: tokens.auth });
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(100_000, 'a')] }, 'team/app:1.0');
  const push = tokens.authorization('repository:team/app:pull,push');
  await pushImage(layout, image.manifest, {
    url: registry.url,
    repository: 'team/app',
    tag: '1.0',
    authorization: push,
  });
  const digest = image.layers[0]?.digest ?? '';
  const service = await startService(t, {
    upstream: registry.url,
    ownCredential: () => Promise.resolve({ kind: 'basic', username: 'robot', password: 'robot-password' }),
  });
  const anonymous = await service.torrent('team/app', digest);
  assert.equal(anonymous.status, 401);
  assert.match(anonymous.headers.get('www-authenticate') ?? '', /^Bearer realm=/);
  const other = tokens.authorization('repository:team/other:pull');
  assert.equal((await service.torrent('team/app', digest, { authorization: other })).status, 401);
  const pull = tokens.authorization('repository:team/app:pull');
  const answer = await service.torrent('team/app', digest, { authorization: pull });
  const [url = ''] = decodeTorrent(Buffer.from(await answer.arrayBuffer())).urlList;
  assert.equal((await fetch(url)).status, 200);
  assert.deepEqual([...new Set(tokens.requests)], ['GET repository:team/app:pull robot']);
});

test('the password of the service goes to no realm in the clear', SKIP, async (t) => {
  const { digest } = await privateRegistry(t);
  const hostile = await startServer(t, (_, response) => {
    response
      .writeHead(401, { 'www-authenticate': 'Bearer realm="http://192.0.2.1/token",service="x"' })
      .end();
  });
  const service = await startService(t, {
    upstream: hostile.url,
    ownCredential: () => Promise.resolve({ kind: 'basic', username: 'robot', password: 'robot-password' }),
  });
  const answer = await service.torrent('team/app', digest, { authorization: RIGHT });
  assert.equal(answer.status, 401);
  const shown = hostile.requests.map(({ headers }) => headers.authorization ?? 'none');
  assert.ok(shown.every((value) => value === 'none' || value === RIGHT));
});

test('in front of an open registry, and of a layout, other hosts may', SKIP, async (t) => {
  const registry = await startRegistry(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  for (const upstream of [registry.url, `oci:${layout.directory}`]) {
    const listen = { host: '0.0.0.0', port: 0 };
    const service = await startService(t, { upstream, listen, publicUrl: 'http://service.example/quay/' });
    await service.close();
  }
});

test("a reading with a caller's credential ends when nobody asks for it any more", SKIP, async (t) => {
  const { registry, digest } = await privateRegistry(t);
  const proxy = await startHttpFaultProxy(t, registry.url);
  proxy.link.bytesPerSecond = 5000;
  const service = await startService(t, { upstream: proxy.url });
  const answer = await service.torrent('team/app', digest, { authorization: RIGHT, wait: 0 });
  assert.equal(answer.status, 202);
  const real = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => real() + 91_000);
  const failed = (): string[] =>
    service.events.flatMap((event) => (event.kind === 'hashing-failed' ? [event.reason] : []));
  while (failed().length === 0) await sleep(100);
  assert.match(failed().join(), /nobody waits for the piece hashes/);
});

test('the password of the service follows no redirect', SKIP, async (t) => {
  const blob = randomBytes(1000);
  const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
  const storage = await startServer(t, (_, response) => response.end(blob));
  const registry = await startServer(t, (request, response) => {
    const isKnown = request.headers.authorization === RIGHT;
    const headers = isKnown
      ? { location: `${storage.url}/signed` }
      : { 'www-authenticate': 'Basic realm="x"' };
    response.writeHead(isKnown ? 307 : 401, headers).end();
  });
  const service = await startService(t, {
    upstream: registry.url,
    cacheBytes: 0,
    ownCredential: () => Promise.resolve({ kind: 'basic', username: 'alice', password: 'right-password' }),
  });
  const answer = await service.torrent('team/app', digest, { authorization: RIGHT });
  assert.equal(answer.status, 200);
  const [url = ''] = decodeTorrent(await answer.bytes()).urlList;
  const seed = await fetch(url, { redirect: 'manual' });
  assert.equal(seed.headers.get('location'), `${storage.url}/signed`);
  assert.equal(seed.headers.get('referrer-policy'), 'no-referrer');
  assert.ok(storage.requests.length > 0);
  for (const { headers } of storage.requests) assert.equal(headers.authorization, undefined);
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
    [{ upstream: oci, listen: { host: '0.0.0.0', port: 0 } }, /not an address that clients can connect to/],
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
