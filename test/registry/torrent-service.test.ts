import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { openRepository } from '../../src/registry/open-repository.ts';
import { parseConnectBack } from '../../src/registry/connect-back.ts';
import { openTorrentService, type TorrentServiceOptions } from '../../src/registry/open-torrent-service.ts';
import type { TorrentService } from '../../src/registry/repository.ts';
import { startServer, type TestServer } from '../helpers/http-server.ts';
import type { Scope } from '../helpers/processes.ts';
import { accessTo, failure, type AccessOptions } from './access.ts';

const BLOB = { mediaType: 'application/octet-stream', digest: digestOf(Buffer.from('blob')), size: 4 };
const TORRENT = Buffer.from('d4:infod6:lengthi4eee');
const SERVICE = { 'quay-torrent': '1' };
const ADA = { kind: 'basic', username: 'ada', password: 'engine-engine' } as const;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

interface Opened {
  readonly service: TorrentService;
  readonly remembered: string[];
}

function open(
  t: Scope,
  registry: string,
  url: string | undefined,
  options: AccessOptions & Partial<TorrentServiceOptions> = {},
): Opened {
  const access = accessTo(t, registry, options);
  const remembered: string[] = [];
  const service = openTorrentService({
    http: access.http,
    repository: openRepository(access, 'team/app'),
    registry,
    name: 'team/app',
    service: url === undefined ? undefined : new URL(url),
    insecure: access.insecure,
    sendCredentials: options.sendCredentials ?? false,
    hostsWithoutTorrents: {
      isSilent: (host) => Promise.resolve(remembered.includes(host)),
      remember: (host) => Promise.resolve(void remembered.push(host)),
    },
  });
  return { service, remembered };
}

const answering =
  (status: number, headers: Record<string, string>, body: string | Buffer = ''): Handler =>
  (_, response) =>
    void response.writeHead(status, headers).end(body);

const torrent = answering(200, { ...SERVICE, 'content-type': 'application/x-bittorrent' }, TORRENT);

/** Wants what it is told; answers torrents to whoever shows it. */
const wanting =
  (authorization: string, challenge: string): Handler =>
  (request, response) => {
    if (request.headers.authorization === authorization) return torrent(request, response);
    response.writeHead(401, { ...SERVICE, 'www-authenticate': challenge }).end();
  };

const asked = (server: TestServer): IncomingMessage[] =>
  server.requests.filter(({ url }) => url?.startsWith('/c1/') === true);

test('the registry itself is asked, with ns and wait', async (t) => {
  const registry = await startServer(t, torrent);
  const { service } = open(t, registry.host, undefined);
  assert.deepEqual(await service.torrent(BLOB, 120, t.signal), { kind: 'torrent', bytes: TORRENT });
  const host = encodeURIComponent(registry.host);
  assert.equal(asked(registry)[0]?.url, `/c1/torrent/team/app/blobs/${BLOB.digest}?ns=${host}&wait=60`);
});

test('a blob is read at the service, below its path and with ns; what it does not have is an error', async (t) => {
  const answers: Record<string, Handler> = {
    registry: (request, response) => {
      const isRange = request.headers.range !== undefined;
      const headers = isRange ? { 'content-range': 'bytes 1-3/4' } : {};
      response.writeHead(isRange ? 206 : 200, headers).end(isRange ? 'lob' : 'blob');
    },
    absent: answering(404, {}),
    moved: answering(307, { location: 'http://127.0.0.1:1/' }),
  };
  const server = await startServer(t, (request, response) => {
    const ns = new URL(request.url ?? '', 'http://x').searchParams.get('ns')?.split('.')[0] ?? '';
    answers[ns]?.(request, response);
  });
  const read = async (ns: string, start: number): Promise<string> => {
    const { service } = open(t, `${ns}.test`, `${server.url}/torrents/`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of service.blob?.(BLOB, start, 4, t.signal) ?? []) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  assert.equal(await read('registry', 0), 'blob');
  assert.equal(await read('registry', 1), 'lob');
  assert.equal(server.requests[0]?.url, `/torrents/v2/team/app/blobs/${BLOB.digest}?ns=registry.test`);
  assert.match((await failure(read('absent', 0))).message, /answers 404/);
  assert.match((await failure(read('moved', 0))).message, /answers 307/);
  const { service } = open(t, server.host, undefined);
  assert.equal(service.blob, undefined, 'the registry is the service');
});

test('a service may have a path before /c1', async (t) => {
  const server = await startServer(t, torrent);
  const { service } = open(t, 'registry.test', `${server.url}/torrents/`);
  assert.equal((await service.torrent(BLOB, 0, t.signal)).kind, 'torrent');
  assert.match(
    server.requests[0]?.url ?? '',
    /^\/torrents\/c1\/torrent\/team\/app\/blobs\/[^?]*\?ns=registry\.test$/,
  );
});

test('what a service says, and what it means', async (t) => {
  const json = JSON.stringify({ size: 4, hashed: 1, etaSeconds: 2.5 });
  const hashing = { kind: 'hashing', size: 4, hashed: 1, etaSeconds: 2.5, retryAfterSeconds: 3 };
  const cases: [Handler, object | RegExp | string][] = [
    [answering(202, { ...SERVICE, 'retry-after': '3' }, json), hashing],
    [
      answering(202, SERVICE, '{"etaSeconds":-1}'),
      { ...hashing, size: 0, hashed: 0, etaSeconds: 0, retryAfterSeconds: 1 },
    ],
    [
      answering(202, { ...SERVICE, 'retry-after': '3' }, json.replace('}', ',"follow":true}')),
      { ...hashing, isFollowed: true },
    ],
    [answering(202, { ...SERVICE, 'retry-after': '3' }, json.replace('}', ',"follow":"yes"}')), hashing],
    [answering(404, SERVICE), /no such blob/],
    [answering(405, SERVICE), /no torrents of this repository/],
    [answering(501, SERVICE), /cannot make a torrent/],
    [answering(501, {}), /serves no torrents/],
    [answering(404, {}, '404 page not found'), /serves no torrents/],
    [answering(401, { 'www-authenticate': 'Negotiate' }), /serves no torrents/],
    [answering(302, { location: 'https://elsewhere.test/' }), /serves no torrents/],
    [answering(200, { 'content-type': 'text/html' }, '<html>'), /serves no torrents/],
    [
      answering(200, { 'content-type': 'application/x-bittorrent; charset=binary' }, TORRENT),
      { kind: 'torrent', bytes: TORRENT },
    ],
    [answering(202, SERVICE, 'soon'), 'protocol'],
    [answering(202, SERVICE, `{"a":"${'x'.repeat(5000)}"}`), 'limit'],
    [
      answering(
        200,
        { ...SERVICE, 'content-type': 'application/x-bittorrent' },
        Buffer.alloc(16 * 2 ** 20 + 1),
      ),
      'limit',
    ],
    [answering(302, { ...SERVICE, location: '/' }), 'protocol'],
    [answering(403, SERVICE), 'unauthorized'],
    [answering(429, {}), 'rate-limited'],
    [answering(502, {}), 'unreachable'],
  ];
  for (const [handler, expected] of cases) {
    const server = await startServer(t, handler);
    const { service } = open(t, server.host, undefined);
    const attempt = service.torrent(BLOB, 0, t.signal);
    if (typeof expected === 'string') {
      assert.equal((await failure(attempt)).code, expected);
    } else if (expected instanceof RegExp) {
      const answer = await attempt;
      assert.ok(answer.kind === 'none' && expected.test(answer.reason), JSON.stringify(answer));
    } else assert.deepEqual(await attempt, expected);
  }
});

test('a host without torrents is asked once and remembered, unless it was named or only unwell', async (t) => {
  const plain = await startServer(t, answering(404, {}));
  const first = open(t, plain.host, undefined);
  await first.service.torrent(BLOB, 0, t.signal);
  await first.service.torrent(BLOB, 0, t.signal);
  assert.equal(asked(plain).length, 1);
  assert.deepEqual(first.remembered, [plain.host]);

  const named = open(t, 'registry.test', plain.url);
  named.remembered.push(plain.host);
  await named.service.torrent(BLOB, 0, t.signal);
  await named.service.torrent(BLOB, 0, t.signal);
  assert.equal(asked(plain).length, 2);

  for (const status of [500, 501, 503]) {
    const unwell = await startServer(t, answering(status, {}));
    const { service, remembered } = open(t, unwell.host, undefined);
    await service.torrent(BLOB, 0, t.signal).catch(() => undefined);
    assert.deepEqual(remembered, [], `${status}`);
  }
});

test('a service on another host gets the token that the registry gives for this repository', async (t) => {
  const tokens = await startServer(t, (_, response) => void response.end('{"token":"earned"}'));
  const challenge = `Bearer realm="${tokens.url}/token",service="registry"`;
  const registry = await startServer(t, answering(401, { 'www-authenticate': challenge }));
  const evil = await startServer(t, answering(200, {}, '{"token":"evil"}'));
  const server = await startServer(
    t,
    wanting('Bearer earned', `Bearer realm="${evil.url}/",service="registry"`),
  );
  const { service } = open(t, registry.host, server.url, { credential: ADA });
  assert.equal((await service.torrent(BLOB, 0, t.signal)).kind, 'torrent');
  assert.deepEqual(
    asked(server).map(({ headers }) => headers.authorization),
    [undefined, 'Bearer earned'],
  );
  assert.equal(
    new URL(tokens.requests[0]?.url ?? '', tokens.url).searchParams.get('scope'),
    'repository:team/app:pull',
  );
  assert.equal(evil.requests.length, 0, 'where a foreign service says a password goes, it does not go');
});

test('a password, or a token of the user’s own, goes to another host with --send-credentials only', async (t) => {
  const basic = `Basic ${Buffer.from(`${ADA.username}:${ADA.password}`).toString('base64')}`;
  const own = { kind: 'registry-token', token: 'my-own-token' } as const;
  for (const [credential, challenge, authorization] of [
    [ADA, 'Basic realm="r"', basic],
    [own, 'Bearer realm="http://127.0.0.1:1/"', 'Bearer my-own-token'],
  ] as const) {
    const registry = await startServer(t, answering(401, { 'www-authenticate': challenge }));
    const server = await startServer(t, wanting(authorization, challenge));
    const { service } = open(t, registry.host, server.url, { credential });
    const error = await failure(service.torrent(BLOB, 0, t.signal));
    assert.equal(error.code, 'unauthorized');
    assert.match(error.hint ?? '', /--send-credentials/);
    assert.deepEqual(
      new Set(asked(server).map(({ headers }) => headers.authorization)),
      new Set([undefined]),
    );

    const sending = open(t, registry.host, server.url, { credential, sendCredentials: true });
    assert.equal((await sending.service.torrent(BLOB, 0, t.signal)).kind, 'torrent');
  }
});

test('the registry as its own service is shown what a registry is shown', async (t) => {
  const basic = `Basic ${Buffer.from(`${ADA.username}:${ADA.password}`).toString('base64')}`;
  const registry = await startServer(t, wanting(basic, 'Basic realm="r"'));
  for (const url of [undefined, registry.url]) {
    const { service } = open(t, registry.host, url, { credential: ADA });
    assert.equal((await service.torrent(BLOB, 0, t.signal)).kind, 'torrent');
  }
  const wrong = open(t, registry.host, undefined, { credential: { ...ADA, password: 'x' } });
  const error = await failure(wrong.service.torrent(BLOB, 0, t.signal));
  assert.equal(error.code, 'unauthorized');
  assert.match(error.hint ?? '', /quayctl login/);
});

test('a registry that is down does not keep a service from being asked', async (t) => {
  const server = await startServer(t, torrent);
  const { service } = open(t, '127.0.0.1:1', server.url, { credential: ADA });
  assert.equal((await service.torrent(BLOB, 0, t.signal)).kind, 'torrent');
});

test('a service that is down is unreachable', async (t) => {
  const { service } = open(t, '127.0.0.1:1', undefined);
  const error = await failure(service.torrent(BLOB, 0, t.signal));
  assert.equal(error.code, 'unreachable');
  assert.match(error.message, /127\.0\.0\.1:1 cannot be reached: connection refused/);
});

test('what a service says of connecting back is read within bounds', () => {
  const base = new URL('http://torrents.example');
  const parse = (text: string): unknown => parseConnectBack(Buffer.from(text), base);
  assert.deepEqual(parse('{"address":"192.0.2.1","port":1,"reachable":true,"more":[]}'), {
    address: '192.0.2.1',
    isReachable: true,
  });
  assert.deepEqual(parse('{"address":"2001:db8::1","reachable":false,"reason":"no answer"}'), {
    address: '2001:db8::1',
    isReachable: false,
    reason: 'no answer',
  });
  // A stranger's words are not repeated.
  assert.deepEqual(parse('{"address":"192.0.2.1","reachable":false,"reason":"\\u001b[2J"}'), {
    address: '192.0.2.1',
    isReachable: false,
    reason: 'not reached',
  });
  for (const text of ['', 'null', '[]', '{', '{}', '{"reachable":true}', '{"address":"x","reachable":true}'])
    assert.throws(() => parse(text), { code: 'protocol' }, text);
});
