import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLAIMS_EXTENSION } from '../../src/swarm/claims/claims-extension.ts';
import { encodeClaims } from '../../src/swarm/claims/claim-messages.ts';
import {
  floods,
  message,
  repeat,
  sends,
  startLiar,
  uint32,
  type Behaviour,
  type LiarOptions,
} from '../helpers/liar.ts';
import { countedSource, emptyStorage, node, sample, startTracker } from './kit.ts';

const never = new AbortController().signal;
const PIECES = [0, 1, 2, 3];

/** Claims as soon as they are understood. */
const claiming =
  (...claims: Uint8Array[]): Behaviour =>
  (wire) => {
    repeat(wire, 20, () => {
      if (!wire.peerExtendedMapping[CLAIMS_EXTENSION]) return;
      for (const claim of claims) wire.extended(CLAIMS_EXTENSION, claim);
    });
  };

const manyNames = `\0d1:md${Array.from({ length: 1000 }, (_, at) => `5:${10_000 + at}i1e`).join('')}ee`;
const strangers = PIECES.flatMap((index) =>
  Array.from({ length: 16 }, (_, tag) => ({ index, tag: 1000 * index + tag })),
);

const times = (count: number, bytes: Buffer): Buffer[] => Array.from({ length: count }, () => bytes);

/** It says itself what it has. */
const bare = { isBare: true };

const hostile: [name: string, behaviour: Behaviour, offence?: RegExp, options?: LiarOptions][] = [
  ['a message of 4 GiB', sends(Buffer.from('fffffffb07', 'hex'), Buffer.alloc(100_000)), /too long/],
  ['a message of 2 GiB', sends(Buffer.from('7fffffff07', 'hex'), Buffer.alloc(100_000)), /too long/],
  ['an extended handshake that keeps a decoder busy', sends(message(20, Buffer.from('\0l-3:')))],
  ['an extended handshake without end', sends(message(20, Buffer.from(`\0${'l'.repeat(10_000)}`)))],
  ['extended handshakes of ever more names', floods(message(20, Buffer.from(manyNames)))],
  ['a flood of messages that mean nothing', floods(Buffer.concat(times(5000, message(99)))), /flood/],
  [
    'choking and unchoking without end',
    floods(Buffer.concat(times(5000, Buffer.concat([message(0), message(1)])))),
    /flood/,
  ],
  ['a piece that does not exist', sends(message(4, uint32(0x7fffffff))), /does not exist/, bare],
  ['a negative piece', sends(message(4, uint32(0xffffffff))), /does not exist/, bare],
  ['a request past the end', sends(message(6, uint32(3, 0x7fffffff, 16384))), /no block/],
  ['requests for gigabytes', sends(...times(5000, message(6, uint32(0, 0, 2 ** 30)))), /no block/],
  ['requests for what nobody offered', floods(Buffer.concat(times(5000, message(6, uint32(0, 0, 1024)))))],
  ['cancels of what was never asked', floods(Buffer.concat(times(5000, message(8, uint32(0, 0, 1024)))))],
  [
    'blocks that nobody asked for',
    floods(message(7, Buffer.concat([uint32(0, 0), Buffer.alloc(16384)]))),
    /nobody asked/,
  ],
  ['blocks of no bytes', floods(Buffer.concat(times(5000, message(7, uint32(0, 0))))), /nobody asked/],
  ['a bitfield that is too long', sends(message(5, Buffer.alloc(500_000, 0xff))), /too long/],
  ['a bitfield of another torrent', sends(message(5, Buffer.alloc(100, 0xff))), /bitfield of another/],
  ['bits behind the last piece', sends(message(5, Buffer.of(0xff))), /bitfield of another/],
  ['one bitfield after the other', sends(...times(100, message(5, Buffer.of(0xf0)))), /one bitfield after/],
  ['messages without their numbers', sends(...[4, 6, 7, 8, 9, 13, 16, 17, 20].map((id) => message(id)))],
  ['bytes of chance', sends(randomBytes(100_000))],
  ['claims of everything, again and again', claiming(encodeClaims({ kind: 'claim', pieces: PIECES }))],
  ['claims of others for everything', claiming(encodeClaims({ kind: 'relayed', claims: strangers }))],
  ['claim messages that are too long', claiming(new Uint8Array(70_000)), /too long/],
  [
    'more claim messages than anybody can need',
    floods(Buffer.concat(times(5000, message(20, Buffer.of(1, 0, 0, 4, 0))))),
    /flood/,
  ],
];

suite('hostile peers', { concurrency: 6 }, () => {
  for (const [name, behaviour, offence, options] of hostile) {
    test(`a peer that sends ${name} ends nothing but its connection`, async (t) => {
      const { url } = await startTracker(t);
      const { content, metainfo } = sample(2 ** 21, [url]);
      const peer = await startLiar(t, url, metainfo, behaviour, options);
      const storage = emptyStorage(content.length);
      const log: string[] = [];
      const banned = (): string[] => log.filter((line) => line.includes('is banned'));
      // The registry waits until the liar has had its turn.
      const { source } = countedSource(content, async () => {
        await peer.met;
        if (offence === undefined) return;
        const until = performance.now() + 2000;
        while (banned().length === 0 && performance.now() < until) await sleep(20);
      });
      const client = node(t, { encryptionMode: 2, onDebug: (line) => log.push(line) });
      const swarm = await client.join({ metainfo, storage, registry: source, signal: never });
      await swarm.done;
      assert.ok(storage.bytes.equals(content));
      if (offence === undefined) return;
      assert.match(banned()[0] ?? '', offence, log.join('\n'));
      assert.ok(banned().every((line) => line.includes(`127.0.0.1:${peer.port}`)));
    });
  }
});

test('a peer of a later version, which says what this one does not know, is neither banned nor left', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(2 ** 21, [url]);
  const later: Behaviour = (wire) => {
    let said = 0;
    repeat(wire, 20, () => {
      if (!wire.peerExtendedMapping[CLAIMS_EXTENSION] || said++ > 0) return;
      wire.extended(CLAIMS_EXTENSION, Buffer.from('9a0004010000000000', 'hex'));
      wire.extended(CLAIMS_EXTENSION, Buffer.from('00ff0801000000000000000777', 'hex'));
      wire.extended(CLAIMS_EXTENSION, Buffer.alloc(2000, 0x7f));
      wire.push(message(20, Buffer.from('\xc8an extension that nobody announced', 'latin1')));
      wire.push(message(20, Buffer.from('\0d1:v5:later1:pi7e13:quayctl_blocki1048576e11:quayctl_newli1eee')));
      told.resolve();
    });
  };
  const told = Promise.withResolvers<void>();
  await startLiar(t, url, metainfo, later, bare);
  const log: string[] = [];
  const storage = emptyStorage(content.length);
  const { source } = countedSource(content, () => told.promise);
  const client = node(t, { encryptionMode: 2, onDebug: (line) => log.push(line) });
  const swarm = await client.join({ metainfo, storage, registry: source, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  assert.equal(swarm.stats().peers, 1, 'it is connected still');
  assert.deepEqual(
    log.filter((line) => /banned|leaves/.test(line)),
    [],
  );
});
