import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test, type TestContext } from 'node:test';
import { discoverAci } from '../../src/registry/aci-source.ts';
import { openTorrentService } from '../../src/registry/open-torrent-service.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { buildInfo, decodeTorrent, encodeTorrent, withoutSecrets } from '../../src/metainfo/metainfo.ts';
import { PieceHasher } from '../../src/metainfo/piece-hasher.ts';
import { TrackerAddress } from '../../src/metainfo/tracker-address.ts';
import { announceTo } from '../../src/swarm/tracker/tracker.ts';
import { digestOf } from '../../src/image/digest.ts';
import { openRepository } from '../../src/registry/open-repository.ts';
import { RegistryUpstream } from '../../src/upstream/registry-upstream.ts';
import { startServer } from '../helpers/http-server.ts';
import { OUTSIDE_ADDRESS, outsideAddress, skipWithout } from '../helpers/programs.ts';
import { accessTo, collect, failure } from '../registry/access.ts';

const SKIP = { skip: skipWithout(OUTSIDE_ADDRESS) };
const BYTES = Buffer.from('only this machine may read it');
const BLOB = { mediaType: 'application/octet-stream', digest: digestOf(BYTES), size: BYTES.length };

/**
 * `registry.test` is at an address of this machine that others reach, too, and in the eyes of quayctl is elsewhere;
 * `local.test` and one address of `both.test` lead to loopback, where a server waits for nobody.
 */
async function stage(t: TestContext) {
  const address = outsideAddress() ?? assert.fail();
  const local = await startServer(t, (_, response) => void response.end(BYTES));
  let location = '';
  let answer: Handler | undefined;
  const registry = await startServer(
    t,
    (request, response) => {
      if (answer !== undefined) answer(request, response);
      else if (request.url === '/v2/') response.end('{}');
      else if (location === '') response.writeHead(404).end();
      else response.writeHead(307, { location }).end();
    },
    undefined,
    { address, port: 0 },
  );
  const v4 = (each: string) => ({ address: each, family: 4 });
  const names: Readonly<Record<string, readonly { address: string; family: number }[]>> = {
    'registry.test': [v4(address)],
    'local.test': [v4('127.0.0.1')],
    'both.test': [v4(address), v4('127.0.0.1')],
    'elsewhere.test': [v4(address)],
  };
  const lookup = (name: string) => Promise.resolve(names[name] ?? assert.fail(name));
  const port = (host: string): string => host.slice(host.lastIndexOf(':'));
  const name = `registry.test${port(registry.host)}`;
  const access = accessTo(t, name, { insecure: true, lookup });
  return {
    access,
    name,
    local,
    localPort: port(local.host),
    repository: openRepository(access, 'team/app'),
    leadTo: (target: string) => void (location = target),
    answerWith: (handler: Handler) => void (answer = handler),
    port: port(registry.host),
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const PLACES = [
  'http://127.0.0.1PORT/',
  'http://0x7f.1PORT/',
  'http://[::1]PORT/',
  'http://[::ffff:127.0.0.1]PORT/',
  'http://0.0.0.0PORT/',
  'http://local.testPORT/',
  'http://both.testPORT/',
  'http://169.254.169.254/latest/meta-data/',
  'http://[::ffff:a9fe:a9fe]/',
  'http://[fd00:ec2::254]/latest/meta-data/',
  'http://100.100.100.200/',
  'http://192.0.0.192/',
  'http://168.63.129.16/',
  'http://[64:ff9b::a9fe:a9fe]/',
  'http://[2002:a9fe:a9fe::1]/',
  'http://[64:ff9b:1::7f00:1]PORT/',
];

test('a registry elsewhere cannot lead us to what only this machine reaches', SKIP, async (t) => {
  const { repository, leadTo, local, localPort } = await stage(t);
  for (const place of PLACES) {
    leadTo(place.replace('PORT', localPort));
    const { code, message } = await failure(repository.manifest('1.0', t.signal));
    assert.equal(code, 'protocol', place);
    assert.match(message, /leads to this machine/, place);
    assert.equal((await failure(collect(repository.blob(BLOB, 0, BLOB.size, t.signal)))).code, 'protocol');
  }
  assert.equal(local.requests.length, 0);
});

test('nor can the places that its manifests name for foreign layers', SKIP, async (t) => {
  const { repository, local, localPort } = await stage(t);
  const urls = PLACES.map((place) => place.replace('PORT', localPort));
  const { code } = await failure(collect(repository.blob({ ...BLOB, urls }, 0, BLOB.size, t.signal)));
  assert.equal(code, 'not-found');
  assert.equal(local.requests.length, 0);
});

test('nor can the upstream of a torrent service', SKIP, async (t) => {
  const { access, name, leadTo, local, localPort } = await stage(t);
  const upstream = new RegistryUpstream(new URL(`http://${name}`), access.http);
  const resource = { kind: 'blob', repository: 'team/app', digest: BLOB.digest } as const;
  for (const place of PLACES) {
    leadTo(place.replace('PORT', localPort));
    const answer = upstream.ask({ method: 'GET', resource, follow: true }, t.signal);
    assert.equal((await failure(answer)).code, 'protocol', place);
  }
  assert.equal(local.requests.length, 0);
});

test('a registry with an address on loopback beside its own is still elsewhere', SKIP, async (t) => {
  const { access, leadTo, port, local, localPort } = await stage(t);
  const repository = openRepository({ ...access, registry: `both.test${port}` }, 'team/app');
  leadTo(`http://127.0.0.1${localPort}/internal`);
  assert.equal((await failure(repository.manifest('1.0', t.signal))).code, 'protocol');
  assert.equal(local.requests.length, 0);
});

test(
  'nor can the token server that it names, so that no token of this machine goes to it',
  SKIP,
  async (t) => {
    const { access, answerWith, local, localPort } = await stage(t);
    for (const place of PLACES) {
      answerWith((request, response) => {
        assert.equal(request.headers.authorization, undefined, place);
        const realm = place.replace('PORT', localPort);
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
      });
      const repository = openRepository(access, 'team/app');
      const { code, message } = await failure(repository.manifest('1.0', t.signal));
      assert.deepEqual([code, /leads to this machine/.test(message)], ['protocol', true], place);
    }
    assert.equal(local.requests.length, 0);
  },
);

test('nor a token server elsewhere that redirects', SKIP, async (t) => {
  const { access, answerWith, name, local, localPort } = await stage(t);
  answerWith((request, response) => {
    const location = `http://127.0.0.1${localPort}/token`;
    if (request.url?.startsWith('/token') === true) return void response.writeHead(307, { location }).end();
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${name}/token"` }).end();
  });
  assert.equal(
    (await failure(openRepository(access, 'team/app').manifest('1.0', t.signal))).code,
    'protocol',
  );
  assert.equal(local.requests.length, 0);
});

const ANNOUNCE = {
  infoHash: 'a'.repeat(40),
  peerId: 'b'.repeat(40),
  port: 6881,
  uploaded: 0,
  downloaded: 0,
  left: 1,
  numwant: 50,
} as const;

test('nor a tracker that redirects, nor one that a torrent from elsewhere names', SKIP, async (t) => {
  const { access, leadTo, name, local, localPort } = await stage(t);
  for (const place of PLACES) {
    const here = place.replace('PORT', localPort);
    leadTo(here);
    const moved = new TrackerAddress(`http://${name}/announce`);
    const named = new TrackerAddress(here, true);
    for (const tracker of [moved, named]) {
      const { code } = await failure(announceTo(tracker, ANNOUNCE, access.http, t.signal));
      assert.equal(code, 'protocol', place);
    }
  }
  const udp = [
    `udp://127.0.0.1${localPort}/`,
    `udp://local.test${localPort}/`,
    `udp://both.test${localPort}/`,
  ];
  for (const place of udp) {
    const tracker = new TrackerAddress(place, true);
    assert.equal(
      (await failure(announceTo(tracker, ANNOUNCE, access.http, t.signal))).code,
      'protocol',
      place,
    );
  }
  assert.equal(local.requests.length, 0);
});

test('a torrent from elsewhere says so of its trackers, also after it was kept', SKIP, async (t) => {
  const { access, answerWith, name } = await stage(t);
  const hasher = new PieceHasher(pieceGeometry(BYTES.length));
  hasher.update(BYTES);
  const { pieces, digest, length } = hasher.finish();
  const info = buildInfo({ name: digest.slice('sha256:'.length), length, pieces });
  const torrent = encodeTorrent(info, { announce: ['http://127.0.0.1/announce?jwt=x'], digest });
  answerWith((request, response) => {
    if (request.url === '/v2/') return void response.end('{}');
    response.writeHead(200, { 'content-type': 'application/x-bittorrent', 'quay-torrent': '1' }).end(torrent);
  });
  const service = openTorrentService({
    http: access.http,
    repository: openRepository(access, 'team/app'),
    registry: name,
    name: 'team/app',
    service: undefined,
    insecure: true,
    sendCredentials: false,
    hostsWithoutTorrents: { isSilent: () => Promise.resolve(false), remember: () => Promise.resolve() },
  });
  const answer = await service.torrent(BLOB, 0, t.signal);
  assert.ok(answer.kind === 'torrent');
  for (const bytes of [answer.bytes, withoutSecrets(answer.bytes)]) {
    const { trackers, infoBytes } = decodeTorrent(bytes);
    assert.deepEqual(
      [trackers.map(({ denyLocal }) => denyLocal), Buffer.from(infoBytes).equals(info)],
      [[true], true],
    );
  }
});

test('peers on this machine are believed of a tracker on this machine alone', SKIP, async (t) => {
  const { access, answerWith, name } = await stage(t);
  const named = [
    '127.0.0.1',
    '169.254.169.254',
    '::ffff:127.0.0.1',
    'fe80::1',
    'local.test',
    'both.test',
    '192.0.2.1',
  ];
  const peers = [...named, 'elsewhere.test'].map((ip) => `d2:ip${ip.length}:${ip}4:porti7ee`).join('');
  answerWith((_, response) => void response.end(`d5:peersl${peers}ee`));
  const heard = await announceTo(
    new TrackerAddress(`http://${name}/announce`),
    ANNOUNCE,
    access.http,
    t.signal,
  );
  assert.deepEqual(heard.peers, ['192.0.2.1:7', `${outsideAddress()}:7`]);
  const local = await startServer(t, (_, response) => void response.end(`d5:peersl${peers}ee`));
  const all = await announceTo(new TrackerAddress(local.url), ANNOUNCE, access.http, t.signal);
  assert.equal(all.peers.length, 8);
});

test('nor appc discovery, by a redirect of its page or by the page', SKIP, async (t) => {
  const { access, answerWith, name, local, localPort } = await stage(t);
  const options = {
    ...access,
    credential: () => Promise.resolve(undefined),
    onDebug: () => undefined,
  };
  const appc = { name: `${name}/team/app`, labels: { version: '1.0', os: 'linux', arch: 'amd64' } };
  const here = `http://127.0.0.1${localPort}`;
  answerWith((_, response) => void response.writeHead(307, { location: `${here}/page` }).end());
  assert.equal((await failure(discoverAci(appc, options, t.signal))).code, 'protocol');
  const meta = `<meta name="ac-discovery" content="${name} ${here}/{name}.{ext}">`;
  answerWith((_, response) => void response.end(meta));
  const source = await discoverAci(appc, options, t.signal);
  assert.equal((await failure(source.torrent(0, t.signal))).code, 'protocol');
  assert.equal((await failure(source.signature(t.signal))).code, 'protocol');
  assert.equal(local.requests.length, 0);
});
