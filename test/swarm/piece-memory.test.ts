import assert from 'node:assert/strict';
import { createDiffieHellman } from 'node:crypto';
import { createServer, connect, type AddressInfo } from 'node:net';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import { pieceGeometry } from '../../src/metainfo/geometry.ts';
import { PieceWriter } from '../../src/swarm/pieces/piece-writer.ts';
import { KeyExchange } from '../../src/swarm/wire/key-exchange.ts';
import { takePieceBuffer } from '../../src/swarm/pieces/piece-buffers.ts';
import { PieceCache } from '../../src/swarm/pieces/piece-cache.ts';
import { PeerWire } from '../../src/swarm/wire/peer-wire.ts';
import { Rate } from '../../src/base/rate.ts';
import { Uploads } from '../../src/swarm/exchange/uploads.ts';
import { emptyStorage, sample } from './kit.ts';

const PIECE = 2 ** 19;
const unlimited = createRateLimiter(0);

// Compared by `===`: a failed assert.equal would format and compare megabytes.

test('a piece is given back to the pool after its last use, once', () => {
  const cache = new PieceCache(4 * PIECE);
  const bytes = takePieceBuffer(PIECE);
  cache.add('t', 0, bytes);
  const used = cache.find('t', 0)?.use();
  cache.forget('t');
  assert.ok(takePieceBuffer(PIECE) !== bytes, 'somebody is still sending it');
  used?.release();
  assert.ok(takePieceBuffer(PIECE) === bytes);
  assert.ok(takePieceBuffer(PIECE) !== bytes);
});

test('the oldest pieces go, and the same piece again takes the place of the former', () => {
  const cache = new PieceCache(4 * PIECE);
  for (const index of [0, 1, 2, 3, 4]) cache.add('t', index, takePieceBuffer(PIECE));
  assert.ok(cache.find('t', 0) === undefined);
  const former = cache.find('t', 1);
  const latter = cache.add('t', 1, takePieceBuffer(PIECE));
  assert.ok(former !== latter);
  assert.ok(cache.find('t', 1) === latter);
  assert.ok(cache.find('t', 2) !== undefined, 'the former one does not count any more');
});

test('a piece that is large beside the cache is in memory until its last use, and pushes nothing out', () => {
  const cache = new PieceCache(4 * PIECE);
  cache.add('t', 0, takePieceBuffer(PIECE));
  const bytes = takePieceBuffer(8 * PIECE);
  const large = cache.add('t', 1, bytes).use();
  assert.ok(cache.find('t', 1) === undefined);
  assert.ok(cache.find('t', 0) !== undefined);
  large.release();
  assert.ok(takePieceBuffer(8 * PIECE) === bytes);
});

test('over what peers may keep in memory nothing is given from it, until they take', () => {
  const cache = new PieceCache(4 * PIECE);
  const held = Array.from({ length: 13 }, (_, index) => cache.add('t', index, takePieceBuffer(PIECE)).use());
  assert.ok(cache.isStrained);
  assert.ok(cache.find('t', 12) === undefined);
  held[0]?.release();
  assert.ok(cache.find('t', 12) === held[12]);
});

test('what is not written yet is given from memory, whatever the cache has dropped', async () => {
  const { content, metainfo } = sample(4 * PIECE, []);
  const storage = emptyStorage(content.length);
  const written = Promise.withResolvers<void>();
  const writer = new PieceWriter(
    metainfo,
    { ...storage, write: () => written.promise },
    new PieceCache(PIECE),
  );
  writer.on('failed', () => assert.fail());
  for (const index of [0, 1]) {
    const bytes = takePieceBuffer(PIECE);
    bytes.set(content.subarray(index * PIECE, (index + 1) * PIECE));
    assert.ok(writer.verifies(index, bytes));
    writer.write(index, bytes);
  }
  assert.ok(content.subarray(0, PIECE).equals(writer.held(0)?.bytes ?? Buffer.of()));
  written.resolve();
  while (writer.unwritten > 0) await sleep(1);
  assert.ok(writer.held(0) === undefined);
});

test('a peer that asks for much and takes nothing gets half a megabyte ready, and no piece is overwritten', async (t) => {
  const { content, metainfo } = sample(8 * PIECE, []);
  const geometry = pieceGeometry(content.length);
  const cache = new PieceCache(8 * PIECE);
  for (let index = 0; index < geometry.pieceCount; index++) {
    const bytes = takePieceBuffer(PIECE);
    bytes.set(content.subarray(index * PIECE, (index + 1) * PIECE));
    cache.add('t', index, bytes);
  }
  const received: Buffer[] = [];
  const scribbled = { count: 0 };
  const server = createServer((socket) => {
    const wire = new PeerWire(socket, 'Incoming', 0, unlimited);
    const uploads = new Uploads(wire, {
      geometry: metainfo.geometry,
      storage: emptyStorage(content.length),
      has: () => true,
      cached: (index) => cache.find('t', index),
      cache,
      limiter: unlimited,
      onGiven: () => {},
    });
    for (let at = 0; at < content.length; at += 2 ** 17)
      uploads.request(Math.floor(at / PIECE), at % PIECE, 2 ** 17);
    // All of them go out of the cache, and others take their memory as soon as it is free.
    cache.forget('t');
    const scribble = setInterval(() => {
      takePieceBuffer(PIECE).fill(255);
      scribbled.count++;
    }, 5);
    wire.on('close', () => clearInterval(scribble));
    t.after(() => wire.destroy());
    assert.ok(wire.unsent < 2 ** 20, `${wire.unsent} bytes wait`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.pause();
  while (scribbled.count < 20) await sleep(5);
  let length = 0;
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk);
      length += chunk.length;
      if (length >= 4 * (2 ** 17 + 13)) resolve();
    });
    socket.resume();
  });
  const stream = Buffer.concat(received);
  for (let block = 0; block < 4; block++) {
    const at = block * (2 ** 17 + 13) + 13;
    assert.ok(
      stream.subarray(at, at + 2 ** 17).equals(content.subarray(block * 2 ** 17, (block + 1) * 2 ** 17)),
    );
  }
});

test('a key exchange comes to the same secret as that of node:crypto', () => {
  const prime = `ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563`;
  for (let round = 0; round < 10; round++) {
    const theirs = createDiffieHellman(prime, 'hex', 2);
    const ours = new KeyExchange();
    const same = ours.computeSecret(theirs.generateKeys());
    const secret = theirs.computeSecret(ours.generateKeys());
    // node:crypto leaves zeros in front away.
    assert.equal(Buffer.from(same).toString('hex'), secret.toString('hex').padStart(192, '0'));
  }
  assert.equal(new KeyExchange().computeSecret(new Uint8Array(96)).length, 96);
});

test('a rate is of the newest time, and of all of it when nobody has looked for long', (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  let count = 0;
  const rate = new Rate(() => count);
  assert.equal(rate.perSecond, 0);
  now = 400;
  count = 1000;
  assert.equal(rate.perSecond, 0, 'too soon to tell');
  now = 500;
  assert.equal(rate.perSecond, 0.4 * 2000);
  now = 10_500;
  count = 101_000;
  assert.equal(rate.perSecond, 10_000);
});
