import assert from 'node:assert/strict';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { openRepository } from '../../src/registry/open-repository.ts';
import { openTorrentService } from '../../src/registry/open-torrent-service.ts';
import { digestOf } from '../../src/image/digest.ts';
import { makeCertificate } from '../helpers/certificate.ts';
import { startServer, type TestServer } from '../helpers/http-server.ts';
import { startNameProxy } from '../helpers/name-proxy.ts';
import type { Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { accessTo, failure, type AccessOptions } from './access.ts';

const skip = skipWithout('openssl');
const ADA = { kind: 'basic', username: 'ada', password: 'engine-engine' } as const;
const MANIFEST = Buffer.from('{"schemaVersion":2}');
const BLOB = { mediaType: 'x', digest: digestOf(MANIFEST), size: MANIFEST.length };
const BASIC = `Basic ${Buffer.from('ada:engine-engine').toString('base64')}`;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Wants Basic, or a token of the realm given. */
const wanting =
  (realm?: string): Handler =>
  (request, response) => {
    const authorization = request.headers.authorization ?? '';
    if (authorization === (realm === undefined ? BASIC : 'Bearer earned')) return void response.end(MANIFEST);
    const challenge = realm === undefined ? 'Basic realm="r"' : `Bearer realm="${realm}",service="s"`;
    response.writeHead(401, { 'www-authenticate': challenge }).end();
  };

const token: Handler = (_, response) => void response.end('{"token":"earned"}');

/** Servers under names that are not loopback; https for port 443, http for any other. */
async function world(
  t: Scope,
  handlers: Readonly<Record<string, Handler>>,
): Promise<{ readonly servers: Readonly<Record<string, TestServer>>; readonly options: AccessOptions }> {
  const names = Object.keys(handlers);
  const certificate = await makeCertificate(
    t,
    names.map((name) => `DNS:${name.split(':')[0]}`),
  );
  const certsDirectory = await tempDirectory(t, 'certs');
  const servers: Record<string, TestServer> = {};
  for (const name of names) {
    const isTls = name.endsWith(':443');
    servers[name] = await startServer(t, handlers[name] as Handler, isTls ? certificate : undefined);
    const host = name.replace(/:443$/, '');
    await mkdir(join(certsDirectory, host), { recursive: true });
    await copyFile(certificate.certificate, join(certsDirectory, host, 'ca.crt'));
  }
  const places = Object.fromEntries(names.map((name) => [name, servers[name]?.host ?? '']));
  const { url } = await startNameProxy(t, places);
  return {
    servers,
    options: { env: { HTTP_PROXY: url, HTTPS_PROXY: url }, certsDirectory, credential: ADA },
  };
}

test('a password goes over HTTPS without a word', { skip }, async (t) => {
  const { options } = await world(t, { 'r.test:443': wanting('https://t.test/token'), 't.test:443': token });
  const access = accessTo(t, 'r.test', options);
  await openRepository(access, 'team/app').manifest('1.0', t.signal);
  assert.deepEqual(access.warnings, []);
});

test('plain HTTP to another host takes --insecure, and a password there a warning', { skip }, async (t) => {
  const { servers, options } = await world(t, { 'r.test:5000': wanting() });
  const secure = openRepository(accessTo(t, 'r.test:5000', options), 'team/app');
  assert.equal((await failure(secure.manifest('1.0', t.signal))).code, 'unreachable');
  assert.equal(servers['r.test:5000']?.requests.length, 0);
  const access = accessTo(t, 'r.test:5000', { ...options, insecure: true });
  const repository = openRepository(access, 'team/app');
  await repository.manifest('1.0', t.signal);
  await repository.manifest('1.0', t.signal);
  assert.deepEqual(access.warnings, ['the password for r.test:5000 goes over plain HTTP']);
});

test(
  'a token server in the clear gets the password with --insecure only, and a warning',
  { skip },
  async (t) => {
    const { servers, options } = await world(t, {
      'r.test:443': wanting('http://t.test:81/token'),
      't.test:81': token,
    });
    const error = await failure(
      openRepository(accessTo(t, 'r.test', options), 'team/app').manifest('1.0', t.signal),
    );
    assert.equal(error.code, 'unauthorized');
    assert.match(error.message, /t\.test:81 over plain HTTP/);
    assert.equal(servers['t.test:81']?.requests.length, 0);

    const { credential: _, ...nobody } = options;
    await openRepository(accessTo(t, 'r.test', nobody), 'team/app').manifest('1.0', t.signal);
    assert.equal(servers['t.test:81'].requests[0]?.headers.authorization, undefined);

    const access = accessTo(t, 'r.test', { ...options, insecure: true });
    await openRepository(access, 'team/app').manifest('1.0', t.signal);
    assert.deepEqual(access.warnings, ['the password for r.test goes over plain HTTP']);
  },
);

test('--insecure does not give up HTTPS where it is all that is spoken', { skip }, async (t) => {
  const toHttps: Handler = (_, response) =>
    void response.writeHead(308, { location: 'https://r.test/v2/' }).end();
  const { servers, options } = await world(t, { 'r.test:443': wanting(), 'r.test:80': toHttps });
  const access = accessTo(t, 'r.test', { ...options, insecure: true });
  await openRepository(access, 'team/app').manifest('1.0', t.signal);
  assert.deepEqual(access.warnings, []);
  assert.ok(servers['r.test:80']?.requests.every(({ headers }) => headers.authorization === undefined));
});

test('no redirect leaves HTTPS, but with --insecure', { skip }, async (t) => {
  const { servers, options } = await world(t, {
    'r.test:443': (_, response) =>
      void response.writeHead(307, { location: 'http://s.test:82/x?sig=c2ln' }).end(),
    's.test:82': (_, response) => void response.end(MANIFEST),
  });
  const error = await failure(
    openRepository(accessTo(t, 'r.test', options), 'team/app').manifest('1.0', t.signal),
  );
  assert.equal(error.code, 'protocol');
  assert.match(error.message, /from HTTPS to plain HTTP at s\.test:82$/);
  assert.equal(servers['s.test:82']?.requests.length, 0);
  const insecure = accessTo(t, 'r.test', { ...options, insecure: true });
  assert.equal(
    (await openRepository(insecure, 'team/app').manifest('1.0', t.signal)).bytes.length,
    MANIFEST.length,
  );
});

test('docker.io is asked at registry-1.docker.io, and its limits are explained', { skip }, async (t) => {
  const { servers, options } = await world(t, {
    'registry-1.docker.io:443': (_, response) =>
      void response.writeHead(429, { 'retry-after': '21600' }).end(),
  });
  for (const insecure of [false, true]) {
    const repository = openRepository(accessTo(t, 'docker.io', { ...options, insecure }), 'library/ubuntu');
    const error = await failure(repository.manifest('latest', t.signal));
    assert.equal(error.code, 'rate-limited');
    assert.match(error.hint ?? '', /quayctl login docker\.io/);
  }
  assert.equal(servers['registry-1.docker.io:443']?.requests[0]?.url, '/v2/library/ubuntu/manifests/latest');
});

test('a torrent service in the clear is shown nothing, but with --insecure', { skip }, async (t) => {
  const { servers, options } = await world(t, {
    'r.test:443': wanting('https://t.test/token'),
    't.test:443': token,
    's.test:7070': (request, response) => {
      response.setHeader('quay-torrent', '1');
      if (request.headers.authorization === undefined) return void response.writeHead(401).end();
      response.writeHead(200, { 'content-type': 'application/x-bittorrent' }).end('de');
    },
  });
  const open = (insecure: boolean) => {
    const access = accessTo(t, 'r.test', { ...options, insecure });
    const repository = openRepository(access, 'team/app');
    const hostsWithoutTorrents = {
      isSilent: () => Promise.resolve(false),
      remember: () => Promise.resolve(),
    };
    const service = new URL('http://s.test:7070');
    const names = { registry: 'r.test', name: 'team/app' };
    return openTorrentService({
      http: access.http,
      repository,
      ...names,
      service,
      insecure,
      sendCredentials: false,
      hostsWithoutTorrents,
    });
  };
  const error = await failure(open(false).torrent(BLOB, 0, t.signal));
  assert.equal(error.code, 'unauthorized');
  assert.match(error.hint ?? '', /--insecure/);
  assert.ok(servers['s.test:7070']?.requests.every(({ headers }) => headers.authorization === undefined));
});
