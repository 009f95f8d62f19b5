import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Http } from '../../src/http/http.ts';
import type { QuayctlError } from '../../src/base/errors.ts';
import type { Announce, TrackerAnswer } from '../../src/swarm/tracker/announce.ts';
import { TrackerAddress } from '../../src/metainfo/tracker-address.ts';
import { announceTo as askTracker } from '../../src/swarm/tracker/tracker.ts';
import { makeCertificate } from '../helpers/certificate.ts';
import { startServer } from '../helpers/http-server.ts';
import { startNameProxy } from '../helpers/name-proxy.ts';
import type { Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { fullStorage, emptyStorage, node, sample, startTracker } from './kit.ts';

const never = new AbortController().signal;
const announceTo = (url: string, said: Announce, by: Http, signal: AbortSignal): Promise<TrackerAnswer> =>
  askTracker(new TrackerAddress(url), said, by, signal);
const announce: Announce = {
  infoHash: 'aa'.repeat(20),
  peerId: 'bb'.repeat(20),
  port: 6881,
  uploaded: 1,
  downloaded: 2,
  left: 3,
  numwant: 50,
};

const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
after(() => http.close());

/** A tracker that gives every asker the same bytes. */
async function answering(
  scope: Scope,
  body: string | Uint8Array,
  status = 200,
): Promise<{ url: string; asked: URL[] }> {
  const asked: URL[] = [];
  const server = createServer((request, response) => {
    asked.push(new URL(request.url ?? '', 'http://tracker'));
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`, asked };
}

test('peers are read from compact answers of both families, and from lists', async (t) => {
  const v6 = Buffer.from('20010db8000000000000000000000001', 'hex');
  const answers: [Buffer, string[]][] = [
    [
      Buffer.concat([Buffer.from('d5:peers6:'), Buffer.of(127, 0, 0, 1, 0x1a, 0xe1), Buffer.from('e')]),
      ['127.0.0.1:6881'],
    ],
    [
      Buffer.concat([Buffer.from('d6:peers618:'), v6, Buffer.of(0x1a, 0xe1), Buffer.from('e')]),
      ['[2001:0db8:0000:0000:0000:0000:0000:0001]:6881'],
    ],
    [Buffer.from('d5:peersld2:ip9:127.0.0.14:porti6881eeee'), ['127.0.0.1:6881']],
    [Buffer.from('d8:completei1e10:incompletei0e8:intervali60e5:peers0:e'), []],
  ];
  for (const [body, peers] of answers) {
    const { url } = await answering(t, body);
    assert.deepEqual((await announceTo(url, announce, http, never)).peers, peers);
  }
});

test('hostile answers are refused and bounded', async (t) => {
  const many = Buffer.concat([Buffer.from('d5:peers60000:'), Buffer.alloc(60000, 1), Buffer.from('e')]);
  const crowd = await answering(t, many);
  assert.equal((await announceTo(crowd.url, announce, http, never)).peers.length, 200);
  const refused: [string | Uint8Array, number, RegExp][] = [
    ['', 200, /no tracker answer/],
    ['<html>', 200, /no tracker answer/],
    ['<html>', 503, /HTTP 503/],
    ['l-3:e', 200, /no tracker answer/],
    [`d14:failure reason19:unapproved\u001b[31m reqe`, 200, /^unapproved \[31m req$/],
  ];
  for (const [body, status, message] of refused) {
    const { url } = await answering(t, body, status);
    await assert.rejects(announceTo(url, announce, http, never), { code: 'protocol', message });
  }
});

test('an answer that does not end is cut off', async (t) => {
  const { url } = await answering(t, new Uint8Array(2 ** 20 + 1));
  await assert.rejects(announceTo(url, announce, http, never), { code: 'limit' });
});

test('a tracker behind TLS is known by certs.d', { skip: skipWithout('openssl') }, async (t) => {
  const certificate = await makeCertificate(t);
  const server = await startServer(t, (_, response) => void response.end('d5:peers0:e'), certificate);
  const url = `${server.url}/announce?jwt=secret`;
  await assert.rejects(announceTo(url, announce, http, never), (error: QuayctlError) => {
    assert.equal(error.code, 'unreachable');
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
  const certsDirectory = await tempDirectory(t, 'certs');
  await mkdir(join(certsDirectory, server.host));
  await copyFile(certificate.certificate, join(certsDirectory, server.host, 'ca.crt'));
  const trusting = new Http({ env: {}, certsDirectory });
  t.after(() => trusting.close());
  assert.deepEqual((await announceTo(url, announce, trusting, never)).peers, []);
});

test('a tracker is reached through the proxy of the environment', async (t) => {
  const { url, asked } = await answering(t, 'd5:peers0:e');
  const proxy = await startNameProxy(t, { 'tracker.test:80': new URL(url).host });
  const proxied = new Http({ env: { HTTP_PROXY: proxy.url }, certsDirectory: '/nonexistent' });
  t.after(() => proxied.close());
  assert.deepEqual((await announceTo('http://tracker.test/announce', announce, proxied, never)).peers, []);
  assert.equal(asked.length, 1);
});

test('a tracker that has moved is followed, three times at most', async (t) => {
  const { url, asked } = await answering(t, 'd5:peers0:e');
  const moved = await startServer(t, (_, response) => void response.writeHead(302, { location: url }).end());
  assert.deepEqual((await announceTo(`${moved.url}/announce`, announce, http, never)).peers, []);
  assert.equal(asked.length, 1);
  let answered = 0;
  const endless = await startServer(t, (_, response) => {
    answered++;
    response.writeHead(302, { location: '/again' }).end();
  });
  await assert.rejects(announceTo(`${endless.url}/announce`, announce, http, never), {
    code: 'protocol',
    message: /redirects without end/,
  });
  assert.equal(answered, 4);
});

test('the announce holds what BEP 3 wants, the token of the URL, and the address that was given', async (t) => {
  const { url, asked } = await answering(t, 'de');
  await announceTo(`${url}?jwt=token`, { ...announce, event: 'started', ip: '10.0.0.1' }, http, never);
  const { searchParams } = asked[0] as URL;
  const { infoHash, peerId, ...rest } = Object.fromEntries(searchParams) as Record<string, string>;
  assert.equal(infoHash ?? peerId, undefined);
  for (const [key, value] of Object.entries({
    jwt: 'token',
    port: '6881',
    uploaded: '1',
    downloaded: '2',
    left: '3',
    compact: '1',
    numwant: '50',
    event: 'started',
    ip: '10.0.0.1',
  })) {
    assert.equal(rest[key], value, key);
  }
  assert.match((asked[0] as URL).search, new RegExp(`info_hash=${'%aa'.repeat(20)}`));
});

test('a refusal is a warning with the words of the tracker and without the token', async (t) => {
  const { url } = await startTracker(t, {
    filter: (_infoHash, _params, done) => done(new Error('unapproved request: invalid jwt')),
  });
  const { metainfo, content } = sample(100, [`${url}?jwt=secret`]);
  const warned = Promise.withResolvers<string>();
  await node(t, { onWarning: warned.resolve }).join({
    metainfo,
    storage: fullStorage(content),
    signal: never,
  });
  assert.equal(await warned.promise, `tracker ${url}: unapproved request: invalid jwt`);
  assert.equal(new TrackerAddress('udp://u:p@host:1/announce?jwt=x#y').name, 'udp://host:1/announce');
});

test('trackers that are given replace those of the torrent, and never see its token', async (t) => {
  const own = await answering(t, 'd8:intervali60e5:peers0:e');
  const given = await answering(t, 'd8:intervali60e5:peers0:e');
  const { metainfo, content } = sample(100, [`${own.url}?jwt=secret`]);
  const swarm = await node(t).join({
    metainfo,
    storage: fullStorage(content),
    trackers: [given.url],
    signal: never,
  });
  while (given.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await swarm.leave();
  assert.equal(own.asked.length, 0);
  assert.deepEqual(
    given.asked.map(({ searchParams }) => searchParams.get('event')),
    ['started', 'stopped'],
  );
  assert.ok(given.asked.every(({ search }) => !search.includes('secret')));
});

test('a tracker that does not answer holds leaving up for two seconds at most', async (t) => {
  const asked: (string | undefined)[] = [];
  const server = createServer(({ url: path }, response) => {
    if (asked.push(path) === 1) response.end('d8:intervali60e5:peers0:e');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`;
  const { metainfo, content } = sample(100, [url]);
  const swarm = await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  while (asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const startedAt = performance.now();
  await Promise.all([swarm.leave(), swarm.leave()]);
  const took = performance.now() - startedAt;
  assert.equal(asked.length, 2);
  assert.ok(took < 3000, `${took}`);
});

test('peers find each other over a UDP tracker', async (t) => {
  const { server } = await startTracker(t, { udp: true });
  const { port } = server.udp.address();
  const { metainfo, content } = sample(300_000, [`udp://127.0.0.1:${port}/announce`]);
  await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
});

test('a node that came first hears of a later one soon', async (t) => {
  const { url } = await startTracker(t);
  const { metainfo, content } = sample(300_000, [url]);
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, signal: never });
  await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  const startedAt = performance.now();
  await swarm.done;
  assert.ok(performance.now() - startedAt < 8000);
});
