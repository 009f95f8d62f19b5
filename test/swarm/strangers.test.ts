import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'node:test';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import { NodeKey } from '../../src/swarm/admission/node-key.ts';
import type { TorrentAdmission } from '../../src/swarm/admission/torrent-admission.ts';
import { PeerTls } from '../../src/swarm/wire/peer-tls.ts';
import { ThirdParties } from '../../src/swarm/peers/third-parties.ts';
import { DialLimits } from '../../src/swarm/peers/dial-limits.ts';
import { Dialer, type DialerOptions } from '../../src/swarm/peers/dialer.ts';
import { PeerListener } from '../../src/swarm/peers/peer-listener.ts';
import { addressGroup } from '../../src/base/address-group.ts';
import { parseInfoHash } from '../../src/metainfo/info-hash.ts';
import type { Scope } from '../helpers/processes.ts';

const INFO_HASH = parseInfoHash('12'.repeat(20));
const limiter = createRateLimiter(0);
const reserved = Buffer.alloc(8);

function handshake(infoHash: string): Buffer {
  const head = Buffer.from('\x13BitTorrent protocol', 'latin1');
  return Buffer.concat([head, reserved, Buffer.from(infoHash, 'hex'), randomBytes(20)]);
}

async function openDoor(
  scope: Scope,
  encryption = 0,
): Promise<{ port: number; came: string[]; wires: { readonly destroyed: boolean }[] }> {
  const came: string[] = [];
  const wires: { readonly destroyed: boolean }[] = [];
  const door = await PeerListener.tryOpen(0, {
    encryption,
    limiter,
    tls: undefined,
    admissionTo: () => undefined,
    infoHashes: () => [INFO_HASH],
    onWire: (wire, infoHash) => {
      came.push(infoHash);
      wires.push(wire);
    },
  });
  assert.ok(door !== undefined);
  scope.after(() => door.close());
  return { port: door.port, came, wires };
}

/** @returns those that are let in */
async function comeIn(scope: Scope, port: number, count: number, ...says: Buffer[]): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'));
  scope.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.on('error', () => {}).resume();
          socket.once('connect', () => {
            says.forEach((part, at) => setTimeout(() => socket.writable && socket.write(part), 100 * at));
            setTimeout(resolve, 500);
          });
          socket.once('close', () => resolve());
        }),
    ),
  );
  return sockets.filter((socket) => !socket.destroyed);
}

test('of a thousand connections from one address that say nothing fifty stay', async (t) => {
  const { port } = await openDoor(t);
  assert.equal((await comeIn(t, port, 1000)).length, 50);
});

test('of a thousand that name the torrent two hundred stay', async (t) => {
  const { port, came } = await openDoor(t);
  let inside = 0;
  for (let round = 0; round < 25; round++) {
    inside += (await comeIn(t, port, 40, handshake(INFO_HASH))).length;
    if (inside === 200) break;
  }
  const late = await comeIn(t, port, 40, handshake(INFO_HASH));
  assert.deepEqual([inside, late.length], [200, 0]);
  assert.ok(came.every((infoHash) => infoHash === INFO_HASH));
});

test('bytes behind a first byte that is none end nothing but the connection, handshake or not', async (t) => {
  const { port, came } = await openDoor(t);
  const stayed = await comeIn(t, port, 1, Buffer.concat([Buffer.of(0), handshake(INFO_HASH)]));
  assert.equal(stayed.length, 0);
  assert.deepEqual(came, [], 'a connection that has ended is told to nobody');
});

for (const [what, bytes] of [
  ['a key and padding without end', Buffer.concat([randomBytes(96), Buffer.alloc(5000)])],
  ['a key of zeros', Buffer.alloc(4096)],
  ['chance', randomBytes(100_000)],
] as const) {
  test(`an encrypted handshake of ${what} ends the connection`, async (t) => {
    const { port, came } = await openDoor(t, 1);
    assert.equal((await comeIn(t, port, 5, bytes, bytes)).length, 0);
    assert.deepEqual(came, []);
  });
}

test('a site is an IPv4 address, or the first half of an IPv6 address', () => {
  for (const [address, site] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
    ['', ''],
  ] as const) {
    assert.equal(addressGroup(address), site, address);
  }
});

/** A place that is dialled, and does what the test wants. */
async function listen(scope: Scope, onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function dialler(scope: Scope, options: Partial<DialerOptions>): Dialer {
  const made = new Dialer({
    infoHash: INFO_HASH,
    peerId: '34'.repeat(20),
    encryption: 0,
    admission: undefined,
    tls: undefined,
    peers: 'any',
    thirdParties: new ThirdParties(),
    limiter,
    refuses: () => false,
    tryDial: () => true,
    dialLimits: new DialLimits(),
    dialWaitMs: 1,
    onWire: (wire) => wire.destroy(),
    ...options,
  });
  scope.after(() => made.stop());
  return made;
}

test('who does not understand the encrypted handshake is not told the info hash in plaintext', async (t) => {
  const firsts: Buffer[] = [];
  const second = Promise.withResolvers<void>();
  const address = await listen(t, (socket) => {
    socket.once('data', (bytes) => {
      firsts.push(bytes);
      socket.destroy();
      if (firsts.length === 2) second.resolve();
    });
  });
  dialler(t, { encryption: 1 }).add(address);
  await second.promise;
  assert.ok(!Buffer.concat(firsts).includes(Buffer.from(INFO_HASH, 'hex')));
});

test('where the payload has to be encrypted, nothing is said in plaintext', async (t) => {
  const said: Buffer[] = [];
  const ended = Promise.withResolvers<void>();
  const address = await listen(t, (socket) => {
    socket.write(handshake(INFO_HASH));
    socket.on('data', (bytes) => said.push(bytes));
    socket.on('close', () => ended.resolve());
  });
  dialler(t, { encryption: 2, onWire: () => assert.fail('it is not encrypted') }).add(address);
  await ended.promise;
  assert.equal(Buffer.concat(said).includes(Buffer.from(INFO_HASH, 'hex')), false);
});

test('a handshake for another torrent ends the connection, and no more than three retries follow', async (t) => {
  const came: Socket[] = [];
  const address = await listen(t, (socket) => {
    came.push(socket);
    socket.write(handshake('56'.repeat(20)));
  });
  const retryMs = [10, 20, 30];
  const made = dialler(t, { retryMs, onWire: () => assert.fail('another torrent') });
  made.add(address);
  made.add(address);
  while (came.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  // Longer than any of the waits.
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(came.length, 4, 'at once, and three times more');
});

test('eighty are dialled at a time; stopped, all of them end, also those that have not answered', async (t) => {
  const open = new Set<Socket>();
  const addresses = await Promise.all(
    Array.from({ length: 90 }, () =>
      listen(t, (socket) => {
        open.add(socket);
        socket.on('data', () => {}).on('close', () => open.delete(socket));
      }),
    ),
  );
  const dialLimits = new DialLimits();
  dialLimits.answered('127.0.0.1');
  const made = dialler(t, { dialLimits });
  for (const address of addresses) made.add(address);
  while (open.size < 80) await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(open.size, 80);
  made.stop();
  await Promise.all([...open].map((socket) => once(socket, 'close')));
});

test('a third party that a tracker names at fifty ports is dialled a few times, and never told the info hash', async (t) => {
  let came = 0;
  let plain = 0;
  const addresses = await Promise.all(
    Array.from({ length: 50 }, () =>
      listen(t, (socket) => {
        came++;
        socket.once('data', (bytes) => {
          if (bytes.subarray(1, 20).toString('latin1') === 'BitTorrent protocol') plain++;
          socket.destroy();
        });
      }),
    ),
  );
  const made = dialler(t, { encryption: 1 });
  for (const address of addresses) made.add(address);
  // Longer than the first retries.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.ok(came >= 3 && came <= 6, `${came} connections`);
  assert.equal(plain, 0);
});

test('a site is left alone longer each time that nobody there answers, until somebody does', () => {
  const limits = new DialLimits();
  const host = '192.0.2.1';
  const fails = (now: number): number => {
    let attempts = 0;
    for (; limits.mayBegin(host, now) && attempts < 100; attempts++) {
      limits.begin(host);
      limits.ended(host, false, now);
    }
    return attempts;
  };
  assert.deepEqual([0, 14_999, 15_000, 44_999, 45_000].map(fails), [3, 0, 3, 0, 3]);
  for (let at = 0; at < 3; at++) limits.begin('[2001:db8:1:2::1]');
  assert.equal(limits.mayBegin('[2001:db8:1:2::2]', 0), false, 'a site is a /64');
  assert.equal(limits.mayBegin('[2001:db8:1:3::2]', 0), true);
  limits.answered(host);
  assert.equal(fails(45_001), 100);
});

test('who does not answer TLS is dialled with the encrypted handshake at once, and remembered; not in a swarm for tls', async (t) => {
  const key = NodeKey.generate();
  const tls = new PeerTls({ key: key.pem, cert: key.certificate });
  const admission = { hasToken: true } as TorrentAdmission;
  for (const peers of ['any', 'tls'] as const) {
    const firsts: number[] = [];
    const second = Promise.withResolvers<void>();
    const address = await listen(t, (socket) => {
      socket.once('data', (bytes) => {
        firsts.push(bytes[0] === 0x16 && bytes[1] === 3 ? 0x16 : 0);
        socket.destroy();
        if (firsts.length === 2) second.resolve();
      });
    });
    const thirdParties = new ThirdParties();
    dialler(t, { encryption: 1, peers, tls, admission, thirdParties }).add(address);
    await second.promise;
    assert.deepEqual(firsts, peers === 'any' ? [0x16, 0] : [0x16, 0x16]);
    assert.equal(thirdParties.has(address, performance.now()), peers === 'any');
    assert.equal(thirdParties.has(address, performance.now() + 3_600_001), false);
  }
});

test('what is no address of a peer is not dialled', (t) => {
  const made = dialler(t, { onWire: () => assert.fail('nobody is there') });
  for (const address of ['', ':', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536', 'a b:1', '[::1', '/etc:1'])
    made.add(address);
});
