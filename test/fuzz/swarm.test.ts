import { TrackerAddress } from '../../src/metainfo/tracker-address.ts';
import assert from 'node:assert/strict';
import { Duplex, Readable } from 'node:stream';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import type { Http } from '../../src/http/http.ts';
import { encodeClaims } from '../../src/swarm/claims/claim-messages.ts';
import { useClaims } from '../../src/swarm/claims/claims-extension.ts';
import { PeerWire } from '../../src/swarm/wire/peer-wire.ts';
import { announceHttp } from '../../src/swarm/tracker/http-tracker.ts';
import type { TrackerAnswer } from '../../src/swarm/tracker/announce.ts';
import { fuzzParsers } from '../helpers/corpus.ts';
import { neverBreaks, type Random } from '../helpers/fuzz.ts';
import { message, uint32 } from '../helpers/liar.ts';

const INFO_HASH = '12'.repeat(20);
const PIECES = 10;
const unlimited = createRateLimiter(0);
const handshake = Buffer.concat([
  Buffer.from('\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04', 'latin1'),
  Buffer.from(INFO_HASH, 'hex'),
  Buffer.from('-XX0000-123456789012'),
]);
const claims = [
  encodeClaims({ kind: 'claim', pieces: [1, 2] }),
  encodeClaims({ kind: 'relayed', claims: [{ index: 3, tag: 4 }] }),
].map((payload) => message(20, Buffer.concat([Buffer.of(1), payload])));
/** What honest peers say. */
const MESSAGES: readonly Buffer[] = [
  uint32(0),
  ...[0, 1, 2, 3, 14, 15].map((id) => message(id)),
  message(4, uint32(3)),
  message(5, Buffer.of(0xff, 0xc0)),
  ...[6, 8, 16].map((id) => message(id, uint32(1, 0, 16384))),
  message(7, Buffer.concat([uint32(1, 0), Buffer.alloc(32)])),
  message(9, Buffer.of(26, 225)),
  ...[13, 17].map((id) => message(id, uint32(2))),
  message(
    20,
    Buffer.from('\0d1:md16:quayctl_claims_1i1e11:ut_metadatai2ee1:pi6881e13:quayctl_blocki131072ee'),
  ),
  ...claims,
];

/** A connection whose other end is the test. */
class TestSocket extends Duplex {
  readonly bytesWritten = 0;
  readonly remoteAddress = '192.0.2.1';
  setNoDelay(): this {
    return this;
  }
  override _read(): void {}
  override _write(_bytes: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/** What a peer says: a handshake and messages, changed here and there, in chunks of any length. */
function talk(random: Random): Buffer[] {
  const said = Array.from({ length: random.below(12) }, () => random.pick(MESSAGES));
  const mutant = said.map((part) =>
    random.below(3) === 0 ? Buffer.from(random.mutate(part, MESSAGES)) : part,
  );
  const hello = random.below(20) === 0 ? Buffer.from(random.mutate(handshake)) : handshake;
  const bytes = Buffer.concat([hello, ...mutant]);
  const cut = random.below(bytes.length);
  return [bytes.subarray(0, cut), bytes.subarray(cut)];
}

test('fuzz the wire protocol, encrypted or not: a connection goes on or ends, and what is told is in range', async (t) => {
  let rounds = 0;
  await neverBreaks(t, talk, async (chunks) => {
    const socket = new TestSocket();
    const wire = new PeerWire(socket as unknown as Socket, 'Incoming', rounds % 2, unlimited);
    let after = 0;
    wire.handle({
      onBlock: (_index, _offset, length) => ({ target: new Uint8Array(length) }),
      onFilled: (_index, _offset, length, { target }) => assert.equal(target?.length, length),
      onRequest: () => after++,
      onCancel: () => after++,
      onReject: () => after++,
    });
    wire.on('handshake', (infoHash: string, peerId: string) => {
      assert.equal(infoHash.length + peerId.length, 80);
      useClaims(wire, PIECES, {
        onReady: () => after++,
        onMessage: (heard) => {
          const told = 'claims' in heard ? heard.claims.map(({ index }) => index) : heard.pieces;
          assert.ok(told.every((index) => index < PIECES));
        },
      });
      wire.handshake(INFO_HASH, '34'.repeat(20), { fast: true });
      wire.unchoke();
    });
    wire.on('crypto-infohash', () => wire.destroy());
    for (const chunk of chunks) socket.emit('data', chunk);
    const before = after;
    wire.destroy();
    for (const chunk of chunks) socket.emit('data', chunk);
    assert.equal(after, before, 'nothing is told of a connection that has ended');
    // Sockets end in a later turn of the event loop.
    if (++rounds % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  });
});

const announce = {
  infoHash: INFO_HASH,
  peerId: '34'.repeat(20),
  port: 1,
  uploaded: 0,
  downloaded: 0,
  left: 1,
  numwant: 50,
};

async function answered(bytes: Uint8Array): Promise<TrackerAnswer> {
  const answer = { statusCode: 200, headers: {}, body: Readable.from([bytes]) };
  const request = (): Promise<unknown> => Promise.resolve(answer);
  const http = { request, isLocal: () => true } as unknown as Http;
  return announceHttp(
    new TrackerAddress('http://192.0.2.1/announce'),
    announce,
    http,
    new AbortController().signal,
  );
}

// What is loaded at the first answer is not the parser's time.
await answered(Buffer.from('d5:peers0:e'));

fuzzParsers({
  'answers of trackers': {
    corpus: 'tracker-answers',
    pieces: ['i', 'e', 'l', 'd', '5:peers', '6:peers6', '0:', 'i-1e', '2:ip', '4:port', 'i99999999e'],
    codes: ['protocol', 'limit'],
    parse: async (bytes) => {
      const answer = await answered(bytes);
      assert.ok(answer.peers.length <= 200);
      assert.ok((answer.intervalMs ?? 1) > 0);
      assert.doesNotMatch(answer.warning ?? '', /\p{Cc}/u);
    },
  },
});
