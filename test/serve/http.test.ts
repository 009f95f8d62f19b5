import assert from 'node:assert/strict';
import { request as httpsRequest } from 'node:https';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { IncomingMessage } from 'node:http';
import type { ServeEvent } from '../../src/serve/torrent-service.ts';
import { mustRun } from '../helpers/processes.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

async function layoutService(t: TestContext): Promise<TestService> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  return startService(t, { upstream: `oci:${layout.directory}` });
}

/** Bytes on a bare connection, and everything that comes back until it ends. */
async function raw(service: TestService, bytes: string): Promise<string> {
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.write(bytes);
  const answer = text(socket);
  setTimeout(() => socket.end(), 2000).unref();
  return answer.catch(() => '');
}

test('paths that mean nothing are 404, under /c1 with the header that says torrents are served here', async (t) => {
  const service = await layoutService(t);
  for (const path of [
    '/',
    '//',
    '/v3/',
    '/stats',
    '/metrics/../v2/x',
    '/c1',
    '/c1/',
    '/c1/torrent',
    '/c1/torrent/',
    `/c1/torrent/blobs/${DIGEST}`,
    `/c1/torrent/team/app/blobs/${DIGEST}/`,
    `/c1/torrent/team%2Fapp/blobs/${DIGEST}`,
    `/c1/torrent/../../etc/blobs/${DIGEST}`,
    `/c1/torrent/team/app/blobs/..%2f..%2fsecret.json`,
    '/c1/torrent/team/app/blobs/sha256:1234',
    `/c1/torrent/${'a/'.repeat(1000)}a/blobs/${DIGEST}`,
    '/c1/squash/',
    '/c1/squash/1.0',
    '/c1/squash/team%2Fapp/1.0',
    '/c1/squash/team/app/..%2f1.0',
    `/c1/squash/../../etc/${DIGEST}`,
    '/c1/squash/team/app/no-such-tag',
    `/ws/team/app/blobs/${DIGEST}x`,
    '/v2/team/app/blobs/uploads/',
    '/v2/_catalog',
    '/v2/../healthz/x/y',
  ]) {
    const line =
      (await raw(service, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)).split(
        '\r\n\r\n',
      )[0] ?? '';
    assert.match(line, /^HTTP\/1\.1 404 /, path.slice(0, 100));
    assert.equal(/\r\nquay-torrent: 1(\r|$)/i.test(line), path.startsWith('/c1'), path.slice(0, 100));
  }
});

test('everything but GET and HEAD is refused, its body unread', async (t) => {
  const service = await layoutService(t);
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    for (const path of ['/v2/team/app/blobs/uploads/', '/c1/torrent/x', '/announce', '/healthz']) {
      const answer = await fetch(`${service.url}${path}`, {
        method,
        ...(method === 'OPTIONS' ? {} : { body: 'x'.repeat(100_000) }),
      });
      assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'GET, HEAD'], `${method} ${path}`);
    }
  }
});

test('giant headers, broken requests and absolute targets do no harm', async (t) => {
  const service = await layoutService(t);
  const cases = [
    [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(40_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    [`GET /${'a'.repeat(40_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ['NONSENSE\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['GET http://elsewhere.example/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 404 /],
    ['GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 404 /],
    [
      'GET /c1/torrent/a/blobs/b?ns=%00&wait=1e999&wait=-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
      /^HTTP\/1\.1 404 /,
    ],
  ] as const;
  for (const [bytes, wanted] of cases) assert.match(await raw(service, bytes), wanted);
  assert.equal((await fetch(`${service.url}/healthz`)).status, 200);
});

test('a client that never finishes its request is put out', { timeout: 40_000 }, async (t) => {
  const service = await layoutService(t);
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
  const drip = setInterval(() => socket.write('X: y\r\n'), 500);
  t.after(() => clearInterval(drip));
  socket.resume();
  await once(socket, 'close');
});

test('one address does not get all connections, a trusted proxy may', async (t) => {
  for (const [trustedProxies, answered] of [
    [[], false],
    [['127.0.0.1'], true],
  ] as const) {
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const service = await startService(t, {
      upstream: `oci:${layout.directory}`,
      trustedProxies,
      bounds: { connections: { most: 1000, mostEach: 20 } },
    });
    const { hostname, port } = new URL(service.url);
    const sockets = Array.from({ length: 20 }, () => connect(Number(port), hostname).on('error', () => {}));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const health = (): Promise<boolean> =>
      fetch(`${service.url}/healthz`).then(
        () => true,
        () => false,
      );
    assert.equal(await health(), answered);
    sockets[0]?.destroy();
    while (!(await health())) await sleep(20);
    for (const socket of sockets) socket.destroy();
  }
});

test('health and readiness', async (t) => {
  const service = await layoutService(t);
  for (const path of ['/healthz', '/readyz']) {
    const answer = await fetch(`${service.url}${path}`);
    assert.deepEqual([answer.status, await answer.json()], [200, { status: 'ok' }]);
    assert.equal((await fetch(`${service.url}${path}`, { method: 'HEAD' })).status, 200);
  }
});

test('requests are told to the log without their queries, odd bytes and all', async (t) => {
  const service = await layoutService(t);
  await fetch(`${service.url}/ws/team/app/blobs/${DIGEST}?signature=hidden`);
  await raw(service, 'GET /\x41%ff?hidden=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const told = (): readonly ServeEvent[] => service.events.filter((event) => event.kind === 'request');
  while (told().length < 2) await setImmediate();
  const requests = service.events.filter((event) => event.kind === 'request');
  assert.deepEqual(
    requests.map(({ method, status }) => [method, status]),
    [
      ['GET', 403],
      ['GET', 404],
    ],
  );
  assert.ok(!JSON.stringify(service.events).includes('hidden'));
});

test(
  'with a certificate the service speaks HTTPS, and says so in torrents',
  { skip: skipWithout('openssl') },
  async (t) => {
    const folder = await tempDirectory(t, 'tls');
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const made = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert];
    await mustRun('openssl', ['req', ...made, ...subject]);
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const tls = { cert: await readFile(cert), key: await readFile(key) };
    const service = await startService(t, { upstream: `oci:${layout.directory}`, tls });
    assert.match(service.url, /^https:\/\/127\.0\.0\.1:\d+$/);
    const request = httpsRequest(`${service.url}/healthz`, { ca: tls.cert, agent: false });
    request.end();
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(await text(answer), '{"status":"ok"}\n');
  },
);
