import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { buildInfo, encodeTorrent } from '../../src/metainfo/metainfo.ts';
import { makeAuthority } from '../helpers/certificate.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour, type Neighbour } from '../helpers/neighbour.ts';
import { oddImage, oddLayer } from '../helpers/odd-images.ts';
import { OddReply, startOddRegistry, type OddRegistryOptions } from '../helpers/odd-registry.ts';
import { file, oddTar } from '../helpers/odd-tar.ts';
import { skipWithout } from '../helpers/programs.ts';
import type { RunningProcess } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { parseReceipt } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { login } from '../conformance/case.ts';
import { furnish } from '../conformance/pull-case.ts';

/** quayctl runs on another machine than registry and service, in the eyes of the network. */
const skip = skipWithoutNeighbour() || skipWithout('openssl');

/** On loopback and on the link of that machine; says of every connection and every datagram that it came. */
const PORT = 8500;
const METADATA = '169.254.169.254';
const SECRET = 'token-of-that-machine';
const LISTENER = `
const answer = JSON.stringify({ token: '${SECRET}' });
const server = require('node:http').createServer((_, response) => response.end(answer));
server.on('connection', ({ localAddress }) => console.log('came to ' + localAddress));
server.listen(${PORT}, '0.0.0.0', () => {
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', () => console.log('came by UDP'));
  socket.bind(${PORT}, () => console.log('ready'));
});
`;

async function listenThere(neighbour: Neighbour): Promise<RunningProcess> {
  const added = await neighbour.start('ip', ['addr', 'add', `${METADATA}/32`, 'dev', 'lo']).exited;
  assert.equal(added.code, 0);
  const listener = neighbour.start(process.execPath, ['-e', LISTENER]);
  await listener.waitFor(/^ready$/m);
  return listener;
}

const HERE = [`http://127.0.0.1:${PORT}`, `http://${METADATA}:${PORT}`];
const [LOOPBACK = ''] = HERE;
const TO_BOTH = Buffer.from([127, 0, 0, 1, PORT >> 8, PORT & 255, 169, 254, 169, 254, PORT >> 8, PORT & 255]);
const PEERS = Buffer.concat([Buffer.from(`d8:intervali60e5:peers12:`), TO_BOTH, Buffer.from('e')]);

const AT_ONCE = 4;
const BLOB = oddTar([file('big', randomBytes(3_000_000))]);

/** A registry with torrents whose trackers and web seeds are those given. */
const withTorrent =
  (
    announce: (registry: string) => readonly string[],
    urlList: readonly string[] = [],
    tracker = (): OddReply => new OddReply(200, {}, PEERS),
  ): NonNullable<OddRegistryOptions['before']> =>
  ({ path }, { url }) => {
    if (path === '/announce') return tracker();
    if (!path.startsWith('/c1/torrent/') || !path.includes(digestHex(BLOB))) return undefined;
    const { pieceLength } = pieceGeometry(BLOB.length);
    const pieces = Array.from({ length: Math.ceil(BLOB.length / pieceLength) }, (_, at) =>
      createHash('sha1')
        .update(BLOB.subarray(at * pieceLength, (at + 1) * pieceLength))
        .digest(),
    );
    const hex = digestHex(BLOB);
    const info = buildInfo({ name: hex, length: BLOB.length, pieces: Buffer.concat(pieces) });
    const torrent = encodeTorrent(info, {
      announce: announce(url),
      urlList,
      digest: `sha256:${hex}` as never,
    });
    return new OddReply(
      200,
      { 'Content-Type': 'application/x-bittorrent', 'Quay-Torrent': '1' },
      Buffer.from(torrent),
    );
  };
const digestHex = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const leads = (location: string): OddReply => new OddReply(307, { Location: location });

/** What a registry says that would lead us to ourselves, and how the pull ends. */
type Way = readonly [what: string, options: OddRegistryOptions, code: 0 | 1];
const WAYS: readonly Way[] = [
  ...HERE.flatMap((place): Way[] => [
    [
      `a token server at ${place}`,
      { auth: 'bearer', challenge: () => `Bearer realm="${place}/token",service="svc"` },
      1,
    ],
    [`its token server leads to ${place}`, { auth: 'bearer', token: () => leads(`${place}/token`) }, 1],
    [`its manifests lie at ${place}`, { manifest: () => leads(`${place}/manifest`) }, 1],
    [`its blobs lie at ${place}`, { blob: () => leads(`${place}/blob`) }, 1],
    [
      `its tracker leads to ${place}`,
      {
        before: withTorrent(
          (url) => [`${url}/announce`],
          [],
          () => leads(`${place}/announce`),
        ),
      },
      0,
    ],
  ]),
  [
    'trackers of its torrents',
    {
      before: withTorrent(() => [...HERE.map((each) => `${each}/announce`), `udp://127.0.0.1:${PORT}`]),
    },
    0,
  ],
  ['peers of its tracker', { before: withTorrent((url) => [`${url}/announce`]) }, 0],
  [
    'web seeds of its torrents',
    {
      before: withTorrent(
        (url) => [`${url}/announce`],
        [`${LOOPBACK}/blob`],
        () => new OddReply(404),
      ),
    },
    0,
  ],
];

test('nothing that a registry on another machine says leads us to our own', { skip }, async (t) => {
  const neighbour = await openNeighbour(t);
  const listener = await listenThere(neighbour);
  const tryOne = async ([what, options, code]: Way): Promise<void> => {
    const registry = await startOddRegistry(t, { ...options, address: neighbour.here });
    const image = oddImage([oddLayer(BLOB, { compression: 'none' })]);
    const reference = registry.put('team/app', '1', image);
    const node = await quayctlNode(t, { launcher: neighbour.launcher });
    const output = await node.run(['torrent', 'pull', reference, '--insecure', '--no-progress']);
    assert.equal(output.code, code, `${what}: ${output.stderr}`);
    assert.doesNotMatch(JSON.stringify(registry.requests), new RegExp(SECRET), what);
  };
  for (let at = 0; at < WAYS.length; at += AT_ONCE) {
    const ways = WAYS.slice(at, at + AT_ONCE);
    await Promise.all(ways.map(tryOne));
    assert.equal(listener.stdout(), 'ready\n', ways.map(([what]) => what).join(', or '));
  }
});

test('--insecure shows no password in the clear to a registry that speaks HTTPS', { skip }, async (t) => {
  const { here, launcher } = await openNeighbour(t);
  const authority = await makeAuthority(t);
  const tls = await authority.issue([`IP:${here}`]);
  const options = { auth: 'basic', address: here } as const;
  const registry = await startOddRegistry(t, { ...options, tls, port: 443 });
  const onTheWay = await startOddRegistry(t, { ...options, port: 80 });
  for (const each of [registry, onTheWay]) each.put('team/app', '1', oddImage([oddLayer(BLOB)]));
  const env = { NODE_EXTRA_CA_CERTS: authority.certificate, SSL_CERT_FILE: authority.certificate };
  const node = await quayctlNode(t, { launcher, env });
  const reference = `${here}/team/app:1`;
  const home = await furnish(node.home, { reference, docker: login(here) });
  const pull = ['torrent', 'pull', reference, '--insecure', '--torrent-service', `http://${here}:80`];
  const output = await node.run([...pull, '--no-progress'], { env: home });
  assert.equal(output.code, 0, output.stderr);
  assert.ok(registry.requests.some(({ headers }) => headers.authorization !== undefined));
  assert.doesNotMatch(JSON.stringify(onTheWay.requests), /authorization/i);
});

test('a swarm for tls between two machines', { skip }, async (t) => {
  const neighbour = await openNeighbour(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [randomLayer(3_000_000, 'a')] }, 'team/app:1.0');
  const server = await quayctlNode(t);
  const serve = ['serve', '--upstream', `oci:${layout.directory}`, '--admin-listen', 'none'];
  const service = server.start([...serve, '--listen', `${neighbour.here}:0`, '--peers', 'tls']);
  const [url] = await service.waitFor(/^http:\S+$/m);
  const name = `${new URL(url).host}/team/app:1.0`;
  const flags = ['--torrent-service', url, '--insecure', '--no-progress', '--json'];
  const pull = ['torrent', 'pull', name, ...flags];
  const giver = await quayctlNode(t);
  const seed = giver.start([...pull, '--seed-after', '10m']);
  await seed.waitFor(/^\{.*\}$/m, 60_000);
  const taker = await quayctlNode(t, { launcher: neighbour.launcher });
  const taken = await taker.run([...pull, '--skip-web-seed', '--debug']);
  assert.equal(taken.code, 0, taken.stderr);
  assert.ok(parseReceipt(taken.stdout).total.fromPeers >= 3_000_000, taken.stdout);
});
