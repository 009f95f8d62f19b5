import assert from 'node:assert/strict';
import { createHash, createPublicKey, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { inspect } from 'node:util';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import { keyThumbprint, NodeKey } from '../../src/swarm/admission/node-key.ts';
import type { Swarm } from '../../src/swarm/swarm-client.ts';
import { mustRun, startProcess, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { emptyStorage, fullStorage, node, startTracker, type MemoryStorage } from './kit.ts';
import { TorrentAuthority } from './torrent-authority.ts';

const never = new AbortController().signal;
const SIZE = 3 * 2 ** 20 + 777;

/** A node with a key of its own, in the swarm of `content`. */
async function member(
  scope: Scope,
  authority: TorrentAuthority,
  content: Buffer,
  {
    key = NodeKey.generate(),
    peers = 'tls' as 'tls' | 'any',
    seeds = false,
    trackers = undefined as string[] | undefined,
  },
): Promise<{ swarm: Swarm; storage: MemoryStorage; port: number }> {
  const { metainfo } = await authority.torrentFor(content, key, peers);
  const storage = seeds ? fullStorage(content) : emptyStorage(content.length);
  const client = node(scope, { nodeKey: key });
  const swarm = await client.join({
    metainfo,
    storage,
    signal: never,
    serviceKeys: authority.serviceKeys,
    ...(trackers === undefined ? {} : { trackers }),
  });
  return { swarm, storage, port: client.port };
}

for (const peers of ['tls', 'any'] as const) {
  test(`two nodes exchange a blob over TLS in a swarm for ${peers}`, async (t) => {
    const { url } = await startTracker(t);
    const authority = await TorrentAuthority.create(url);
    const content = randomBytes(SIZE);
    await member(t, authority, content, { peers, seeds: true });
    const { swarm, storage } = await member(t, authority, content, { peers });
    await swarm.done;
    assert.ok(storage.bytes.equals(content));
    assert.equal(swarm.stats().fromPeers, SIZE);
  });
}

test('with a limit of the download rate the bytes stay in their order', async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  await member(t, authority, content, { seeds: true });
  const nodeKey = NodeKey.generate();
  const { metainfo } = await authority.torrentFor(content, nodeKey, 'tls');
  const log: string[] = [];
  const client = node(t, {
    nodeKey,
    downloadLimiter: createRateLimiter(2_000_000),
    onDebug: (line) => log.push(line),
  });
  const storage = emptyStorage(SIZE);
  const { serviceKeys } = authority;
  await (
    await client.join({ metainfo, storage, signal: never, serviceKeys })
  ).done;
  assert.ok(storage.bytes.equals(content));
  assert.doesNotMatch(log.join(), /banned/);
});

test('nothing on the way between two nodes shows the payload or the info hash', async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  const seed = await member(t, authority, content, { seeds: true, trackers: [] });
  const recorder = await recordingProxy(t, seed.port);
  const tracker = await fixedTracker(t, peersAnswer(recorder.port));
  const { swarm, storage } = await member(t, authority, content, { trackers: [tracker] });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  const recorded = Buffer.concat(recorder.chunks);
  assert.ok(recorded.length > SIZE);
  assert.ok(!recorded.includes(Buffer.from(swarm.infoHash, 'hex')));
  assert.ok(!recorded.includes('BitTorrent protocol'));
  for (let at = 0; at + 16 <= SIZE; at += 4096) assert.ok(!recorded.includes(content.subarray(at, at + 16)));
});

/** A peer that speaks TLS, made by hand: a script for what it shows. */
interface Stranger {
  readonly key: NodeKey;
  /** The first message: 32 bytes by which the torrent is named. */
  readonly name: string;
  readonly jwt: string | undefined;
}

/** Comes to a node and says what a stranger says. @returns all that the node sent back, until it hung up */
async function visit(port: number, { key, name, jwt }: Stranger): Promise<{ bytes: Buffer; ended: boolean }> {
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    key: key.pem,
    cert: key.certificate,
    ALPNProtocols: ['quayctl-peer/1'],
    rejectUnauthorized: false,
  });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.write(frame(Buffer.from(name, 'hex')));
  if (jwt !== undefined) socket.write(frame(Buffer.from(jwt)));
  await once(socket, 'close');
  return { bytes: Buffer.concat(chunks), ended: true };
}

function frame(content: Buffer): Buffer {
  return Buffer.concat([Buffer.of(content.length >> 8, content.length & 255), content]);
}

/** The proof that the node knows the torrent: nothing that the stranger, who named it, does not know. */
const PROOF_FRAME = 2 + 32;

test('a peer without the right to be here is told nothing', async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const other = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  const seed = await member(t, authority, content, { seeds: true });
  const { infoHash } = seed.swarm;
  const key = NodeKey.generate();
  const { thumbprint } = key;
  const name = createHash('sha256')
    .update('quayctl-peer/1')
    .update(Buffer.from(infoHash, 'hex'))
    .digest('hex');
  const victim = NodeKey.generate();
  const elsewhere = 'ab'.repeat(20) as typeof infoHash;
  const tokens: Record<string, string> = {
    'a token that was stolen': await authority.sign({ infoHash, thumbprint: victim.thumbprint }),
    'a token that has expired': await authority.sign({ infoHash, thumbprint, seconds: -60 }),
    'a token of another swarm': await authority.sign({ infoHash: elsewhere, thumbprint }),
    'a token without a key': await authority.sign({ infoHash, thumbprint: undefined }),
    'a token of another service': await other.sign({ infoHash, thumbprint }),
    'a token of another issuer': await authority.sign({ infoHash, thumbprint, issuer: 'http://other.test' }),
    'a token for another tracker': await authority.sign({
      infoHash,
      thumbprint,
      audience: 'http://other.test',
    }),
    'no token': 'x',
    'a token without a signature': `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`,
  };
  for (const [what, jwt] of Object.entries(tokens)) {
    await t.test(what, async () => {
      const { bytes } = await visit(seed.port, { key, name, jwt });
      assert.equal(bytes.length, PROOF_FRAME);
      assert.ok(!bytes.includes(Buffer.from(infoHash, 'hex')));
    });
  }
  await t.test('one who does not know the info hash gets not a byte', async () => {
    const { bytes } = await visit(seed.port, { key, name: 'cd'.repeat(32), jwt: undefined });
    assert.equal(bytes.length, 0);
  });
  await t.test('and with the right token it is shown the token of the node', async () => {
    const socket = connectTls({
      ...{ port: seed.port, host: '127.0.0.1', key: key.pem, cert: key.certificate },
      ...{ ALPNProtocols: ['quayctl-peer/1'], rejectUnauthorized: false },
    });
    const chunks: Buffer[] = [];
    await once(socket, 'secureConnect');
    socket.write(frame(Buffer.from(name, 'hex')));
    socket.write(frame(Buffer.from(await authority.sign({ infoHash, thumbprint }))));
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      if (Buffer.concat(chunks).length > PROOF_FRAME) break;
    }
    assert.match(
      Buffer.concat(chunks)
        .subarray(PROOF_FRAME + 2)
        .toString(),
      /^[\w-]+\.[\w-]+\.[\w-]+$/,
    );
  });
  assert.equal(seed.swarm.stats().peers, 0);
});

test('a node tells nothing to a place that speaks TLS and does not know the torrent', async (t) => {
  const received: Buffer[] = [];
  const key = NodeKey.generate();
  const came = Promise.withResolvers<void>();
  const server = createTlsServer(
    {
      key: key.pem,
      cert: key.certificate,
      ALPNProtocols: ['quayctl-peer/1'],
      requestCert: true,
      rejectUnauthorized: false,
    },
    (socket) => {
      socket.on('error', () => {});
      socket.write(frame(randomBytes(32)));
      socket.on('data', (chunk: Buffer) => received.push(chunk));
      socket.on('close', () => came.resolve());
    },
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => void server.close());
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const tracker = await fixedTracker(t, peersAnswer((server.address() as AddressInfo).port));
  const { swarm } = await member(t, authority, randomBytes(SIZE), { trackers: [tracker] });
  await came.promise;
  const bytes = Buffer.concat(received);
  assert.equal(bytes.length, PROOF_FRAME);
  assert.ok(!bytes.includes(Buffer.from(swarm.infoHash, 'hex')));
});

test('the connection with a peer ends when its token does', async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  const key = NodeKey.generate();
  const seed = await member(t, authority, content, { seeds: true });
  const { metainfo } = await authority.torrentFor(content, key, 'tls', 2);
  const { serviceKeys } = authority;
  const limiter = createRateLimiter(2 ** 18);
  const client = node(t, { nodeKey: key, downloadLimiter: limiter });
  const storage = emptyStorage(content.length);
  const startedAt = performance.now();
  const swarm = await client.join({ metainfo, storage, signal: never, serviceKeys, waitForPeersMs: 60_000 });
  const peers = (): number => swarm.stats().peers + seed.swarm.stats().peers;
  while (peers() < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  while (peers() > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  // Two seconds, and five in which clocks may differ.
  const seconds = (performance.now() - startedAt) / 1000;
  assert.ok(seconds > 5 && seconds < 11, `${seconds}`);
});

test('without a live token a swarm for tls cannot be joined', async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  const nodeKey = NodeKey.generate();
  const { serviceKeys } = authority;
  for (const [key, seconds] of [
    [NodeKey.generate(), 3600],
    [undefined, 3600],
  ] as const) {
    const { metainfo } = await authority.torrentFor(content, key, 'tls', seconds);
    const joined = node(t, { nodeKey }).join({
      ...{ metainfo, storage: emptyStorage(SIZE), signal: never, serviceKeys },
    });
    await assert.rejects(joined, { code: 'no-peers', message: /live token/ });
  }
});

const ARIA2 = [
  ...['--no-conf=true', '--enable-dht=false', '--enable-dht6=false', '--bt-enable-lpd=false'],
  ...[
    '--enable-peer-exchange=false',
    '--listen-port=20000-60000',
    '--disable-ipv6=true',
    '--summary-interval=0',
  ],
  '--follow-torrent=mem',
];

test('aria2 gets nothing in a swarm for tls', { skip: skipWithout('aria2c') }, async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  const seed = await member(t, authority, content, { seeds: true });
  const { torrent } = await authority.torrentFor(content, undefined, 'tls');
  const directory = await tempDirectory(t, 'aria2');
  await writeFile(join(directory, 'blob.torrent'), torrent);
  const stop = ['--seed-time=0', '--bt-stop-timeout=8', '--bt-tracker-interval=1'];
  const aria2 = startProcess('aria2c', [
    ...ARIA2,
    ...stop,
    `--dir=${directory}`,
    join(directory, 'blob.torrent'),
  ]);
  t.after(() => aria2.kill('SIGKILL').then(() => {}));
  const { code } = await aria2.exited;
  assert.notEqual(code, 0);
  assert.equal(seed.swarm.stats().uploaded, 0);
});

test('a swarm for any has aria2 in it, both ways', { skip: skipWithout('aria2c') }, async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  const { torrent, metainfo } = await authority.torrentFor(content, undefined, 'any');
  const [seeding, leeching] = [await tempDirectory(t, 'aria2'), await tempDirectory(t, 'aria2')];
  for (const directory of [seeding, leeching]) await writeFile(join(directory, 'blob.torrent'), torrent);
  await writeFile(join(seeding, metainfo.name), content);
  const seed = startProcess('aria2c', [
    ...[
      ...ARIA2,
      '--check-integrity=true',
      '--seed-ratio=0',
      `--dir=${seeding}`,
      join(seeding, 'blob.torrent'),
    ],
  ]);
  t.after(() => seed.kill('SIGKILL').then(() => {}));
  const ours = await member(t, authority, content, { peers: 'any' });
  await ours.swarm.done;
  assert.ok(ours.storage.bytes.equals(content));
  await seed.kill('SIGKILL');
  const leech = startProcess('aria2c', [
    ...[...ARIA2, '--seed-time=0', `--dir=${leeching}`, join(leeching, 'blob.torrent')],
  ]);
  t.after(() => leech.kill('SIGKILL').then(() => {}));
  assert.equal((await leech.exited).code, 0);
  assert.ok((await readFile(join(leeching, metainfo.name))).equals(content));
  assert.ok(ours.swarm.stats().uploaded >= SIZE);
});

test(
  'openssl reads the certificate of a node key, and its signature is good',
  { skip: skipWithout('openssl') },
  async (t) => {
    const key = NodeKey.generate();
    const directory = await tempDirectory(t, 'certificate');
    const path = join(directory, 'cert.pem');
    await writeFile(path, key.certificate);
    const shown = await mustRun('openssl', [
      'x509',
      '-in',
      path,
      '-noout',
      '-subject',
      '-enddate',
      '-pubkey',
    ]);
    assert.match(shown, /CN ?= ?quayctl/);
    assert.match(shown, /notAfter=Dec 31 23:59:59 9999 GMT/);
    assert.equal(
      keyThumbprint(createPublicKey(/-----BEGIN PUBLIC[^]*/.exec(shown)?.[0] ?? '')),
      key.thumbprint,
    );
    const verified = await mustRun('openssl', ['verify', '-check_ss_sig', '-CAfile', path, path]);
    assert.match(verified, /: OK/);
    assert.equal(await calculateJwkThumbprint(await exportJWK(createPublicKey(key.pem))), key.thumbprint);
    assert.equal(NodeKey.parse(key.pem).thumbprint, key.thumbprint);
    assert.ok(!inspect(key).includes('PRIVATE'));
  },
);

/** A tracker's answer that names one port on this machine. */
function peersAnswer(port: number): Buffer {
  const peer = Buffer.of(127, 0, 0, 1, port >> 8, port & 255).toString('latin1');
  return Buffer.from(`d8:intervali60e5:peers6:${peer}e`, 'latin1');
}

/** Passes bytes on to a port, and keeps them. */
async function recordingProxy(scope: Scope, to: number): Promise<{ port: number; chunks: Buffer[] }> {
  const chunks: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const onward = connect(to, '127.0.0.1');
    sockets.push(socket, onward);
    for (const [from, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      from.on('data', (chunk) => chunks.push(chunk));
      from.on('error', () => {});
      from.pipe(other);
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  scope.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, chunks };
}

/** A tracker that says the same to everybody. */
async function fixedTracker(scope: Scope, answer: Buffer): Promise<string> {
  const server = createHttpServer((_, response) => response.end(answer));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  scope.after(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`;
}
