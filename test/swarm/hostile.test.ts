import assert from 'node:assert/strict';
import test from 'node:test';
import { encodeClaims } from '../../src/swarm/claim-messages.ts';
import { countedSource, emptyStorage, node, sample, startTracker } from './kit.ts';
import { rawPeer, type Behaviour } from './raw-peer.ts';

const never = new AbortController().signal;

type RawWire = Parameters<Behaviour>[0] & { push(bytes: Uint8Array): void };

/** Bytes as they are, after a good handshake. */
const sends =
  (...bytes: Uint8Array[]): Behaviour =>
  (wire) => {
    setTimeout(() => {
      for (const part of bytes) if (!wire.destroyed) (wire as RawWire).push(part);
    }, 50);
  };

function message(id: number, payload: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(1 + payload.length);
  return Buffer.concat([length, Buffer.of(id), payload]);
}

const uint32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, at) => bytes.writeUInt32BE(value, at * 4));
  return bytes;
};

const hostile: [string, Behaviour][] = [
  ['a message of 4 GiB', sends(Buffer.from('fffffffb07', 'hex'), Buffer.alloc(100_000))],
  ['a message of 2 GiB', sends(Buffer.from('7fffffff07', 'hex'), Buffer.alloc(100_000))],
  ['an extended handshake that keeps a decoder busy', sends(message(20, Buffer.from('\0l-3:')))],
  ['an extended handshake without end', sends(message(20, Buffer.from(`\0${'l'.repeat(10_000)}`)))],
  ['a piece that does not exist', sends(message(4, uint32(0x7fffffff)))],
  ['a negative piece', sends(message(4, uint32(0xffffffff)))],
  ['a request past the end', sends(message(6, uint32(3, 0x7fffffff, 16384)))],
  ['requests for gigabytes', sends(...Array.from({ length: 5000 }, () => message(6, uint32(0, 0, 2 ** 30))))],
  ['blocks that nobody asked for', sends(message(7, Buffer.concat([uint32(0, 0), Buffer.alloc(16384)])))],
  ['a bitfield that is too long', sends(message(5, Buffer.alloc(500_000, 0xff)))],
  [
    'messages without their numbers',
    sends(...[4, 6, 7, 8, 9, 13, 16, 17, 20].map((id) => message(id, Buffer.alloc(0)))),
  ],
  [
    'claims of everything, again and again',
    (wire) => {
      const claims = encodeClaims({ kind: 'claim', pieces: [0, 1, 2, 3] });
      const timer = setInterval(() => {
        if (wire.destroyed) clearInterval(timer);
        else if (wire.peerExtendedMapping['quayctl_claims']) wire.extended('quayctl_claims', claims);
      }, 20);
      timer.unref();
    },
  ],
  [
    'claims that are none',
    (wire) => {
      wire.on('extended', (name: string) => {
        if (name === 'handshake') wire.extended('quayctl_claims', new Uint8Array(10_000));
      });
    },
  ],
];

for (const [name, behaviour] of hostile) {
  test(`a peer that sends ${name} ends nothing but its connection`, async (t) => {
    const { url } = await startTracker(t);
    const { content, metainfo } = sample(2 ** 21, [url]);
    const peer = await rawPeer(t, url, metainfo, behaviour);
    const storage = emptyStorage(content.length);
    const { source } = countedSource(content);
    const client = node(t, { encryptionMode: 2 });
    const swarm = await client.join({ metainfo, storage, registry: source, signal: never });
    await swarm.done;
    assert.ok(storage.bytes.equals(content));
    assert.ok(peer.connections() > 0);
  });
}
