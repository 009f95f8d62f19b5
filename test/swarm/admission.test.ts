import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'node:test';
import { NodeKey } from '../../src/swarm/admission/node-key.ts';
import type { Swarm } from '../../src/swarm/swarm-client.ts';
import type { Scope } from '../helpers/processes.ts';
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

test('nothing on the way between two nodes shows the payload or the info hash', async (t) => {
  const { url } = await startTracker(t);
  const authority = await TorrentAuthority.create(url);
  const content = randomBytes(SIZE);
  const seed = await member(t, authority, content, { seeds: true, trackers: [] });
  const recorder = await recordingProxy(t, seed.port);
  const answer = `d8:intervali60e5:peers6:${Buffer.concat([Buffer.of(127, 0, 0, 1, recorder.port >> 8, recorder.port & 255)]).toString('latin1')}e`;
  const tracker = await fixedTracker(t, Buffer.from(answer, 'latin1'));
  const { swarm, storage } = await member(t, authority, content, { trackers: [tracker] });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  const recorded = Buffer.concat(recorder.chunks);
  assert.ok(recorded.length > SIZE);
  assert.ok(!recorded.includes(Buffer.from(swarm.infoHash, 'hex')));
  assert.ok(!recorded.includes('BitTorrent protocol'));
  for (let at = 0; at + 16 <= SIZE; at += 4096) assert.ok(!recorded.includes(content.subarray(at, at + 16)));
});

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
  const { createServer: createHttpServer } = await import('node:http');
  const server = createHttpServer((_, response) => response.end(answer));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  scope.after(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`;
}
