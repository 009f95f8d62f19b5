import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { infoHashOf } from '../../src/metainfo/info-hash.ts';
import { ServiceKeySet } from '../../src/registry/service-keys.ts';
import { admitDialled, admitIncoming } from '../../src/swarm/admission/handshake.ts';
import { NodeKey } from '../../src/swarm/admission/node-key.ts';
import { TorrentAdmission } from '../../src/swarm/admission/torrent-admission.ts';
import { PEER_PROTOCOL } from '../../src/swarm/wire/peer-tls.ts';
import type { PeerWire } from '../../src/swarm/wire/peer-wire.ts';
import { neverBreaks, type Random } from '../helpers/fuzz.ts';
import { TorrentAuthority } from '../swarm/torrent-authority.ts';

const INFO_HASH = infoHashOf(Buffer.from('d6:lengthi1ee'));
const TOKEN = Buffer.from('header.claims.signature');
const SHARED = Buffer.alloc(32, 7);
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** A TLS connection whose other end is the test. */
class TestWire extends EventEmitter {
  readonly sent: Buffer[] = [];
  destroyed = false;
  admitted = false;
  #read: (chunk: Uint8Array) => void = () => undefined;
  readonly tls = {
    alpnProtocol: PEER_PROTOCOL,
    exportKeyingMaterial: () => SHARED,
    getPeerX509Certificate: () => ({ publicKey }),
  };

  readOpening(read: (chunk: Uint8Array) => void): void {
    this.#read = read;
  }
  push(bytes: Buffer): void {
    this.sent.push(bytes);
  }
  admit(): void {
    this.admitted = true;
  }
  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('close');
  }
  hear(chunk: Uint8Array): void {
    if (!this.destroyed) this.#read(chunk);
  }
}

const torrent = {
  infoHash: INFO_HASH,
  name: createHash('sha256').update(INFO_HASH).digest('hex'),
  hasToken: true,
  jwt: 'our.own.token',
  check: (jwt: string) => Promise.resolve(jwt === TOKEN.toString() ? 60_000 : undefined),
} as unknown as TorrentAdmission;
const find = (name: string): TorrentAdmission | undefined => (name === torrent.name ? torrent : undefined);

const frame = (content: Uint8Array): Buffer =>
  Buffer.concat([Buffer.of(content.length >> 8, content.length & 255), content]);
const NAME = frame(Buffer.from(torrent.name, 'hex'));
const PIECES = [NAME, frame(TOKEN), Buffer.of(0, 0), Buffer.of(0xff, 0xff), Buffer.of(16, 0), SHARED];

/** A peer's two messages, changed here and there or not at all, each in chunks of any length. */
function chunks(random: Random, honest: readonly Buffer[]): Buffer[] {
  const isHonest = random.below(4) === 0;
  const said = honest.map((each) => (isHonest ? each : Buffer.from(random.mutate(each, PIECES))));
  // Now and then what ought to come later comes along.
  const turns = random.below(4) === 0 ? [Buffer.concat(said)] : said;
  return turns.flatMap((turn) => {
    const parts: Buffer[] = [];
    for (let at = 0; at < turn.length;) {
      const length = 1 + random.below(random.pick([3, 40, 5000]));
      parts.push(turn.subarray(at, at + length));
      at += length;
    }
    return parts;
  });
}

/** Says it all, one chunk in a turn, then leaves; whether it was admitted. */
async function told(wire: TestWire, parts: readonly Buffer[], admission: Promise<boolean>): Promise<boolean> {
  for (const part of parts) {
    wire.hear(part);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  if (!wire.admitted) wire.destroy();
  const isAdmitted = await admission;
  assert.equal(isAdmitted, wire.admitted);
  wire.destroy();
  return isAdmitted;
}

test('fuzz admission of who dials us: only what is said exactly so is admitted, and nothing is told before', async (t) => {
  const honest = Buffer.concat([NAME, frame(TOKEN)]);
  const messages = [NAME, frame(TOKEN)];
  let count = 0;
  await neverBreaks(
    t,
    (random) => chunks(random, messages),
    async (parts) => {
      const wire = new TestWire();
      const admission = admitIncoming(wire as unknown as PeerWire, find);
      const isAdmitted = await told(wire, parts, admission);
      const said = Buffer.concat(parts);
      if (isAdmitted) count++;
      // What comes behind the token in a later chunk is the peers' own conversation.
      if (isAdmitted) assert.ok(said.subarray(0, honest.length).equals(honest));
      const isInTurn = parts.some((_, at) => Buffer.concat(parts.slice(0, at)).equals(NAME));
      if (said.equals(honest)) assert.equal(isAdmitted, isInTurn);
      const answered = Buffer.concat(wire.sent);
      if (!said.subarray(0, NAME.length).equals(NAME)) assert.equal(answered.length, 0);
      if (!isAdmitted) assert.ok(!answered.includes('our.own.token'));
    },
    { rounds: 3000 },
  );
  assert.ok(count > 0);
});

test('fuzz admission of whom we dial: who does not show that it knows the torrent does not see our token', async (t) => {
  await neverBreaks(
    t,
    (random) => chunks(random, [frame(SHARED), frame(TOKEN)]),
    async (parts) => {
      const wire = new TestWire();
      const admission = admitDialled(wire as unknown as PeerWire, torrent);
      assert.equal(await told(wire, parts, admission), false);
      assert.ok(!Buffer.concat(wire.sent).includes('our.own.token'));
    },
    { rounds: 3000 },
  );
});

test('fuzz the key set of a service, and tokens: a set or an error, yes or no', async (t) => {
  const authority = await TorrentAuthority.create('http://service.test/announce');
  const [mine, theirs] = [NodeKey.generate(), NodeKey.generate()];
  const sign = ({ thumbprint }: NodeKey): Promise<string> =>
    authority.sign({ infoHash: INFO_HASH, thumbprint });
  const own = { jwt: await sign(mine), receivedAt: performance.now() };
  const good = Buffer.from(await sign(theirs));
  const set = Buffer.from(JSON.stringify(await authority.serviceKeys()));
  let keys: unknown;
  const admission = new TorrentAdmission({
    infoHash: INFO_HASH,
    thumbprint: mine.thumbprint,
    token: () => own as never,
    serviceKeys: () => Promise.resolve(keys),
  });
  const pieces = ['null', '{}', '[]', '"kid":1', '"n":"AQ"', '"kty":"oct"', '"k":"AA"', 'HS256', '.', '..'];
  let admitted = 0;
  await neverBreaks(
    t,
    (random) => {
      const change = (bytes: Buffer): Uint8Array =>
        random.below(3) === 0
          ? bytes
          : random.mutate(
              bytes,
              pieces.map((each) => Buffer.from(each)),
            );
      return [change(set), change(good)] as const;
    },
    async ([bytes, jwt]) => {
      const answer = { statusCode: 200, headers: {}, body: Readable.from([bytes]) };
      const url = new URL('http://service.test/keys');
      const found = await new ServiceKeySet(() => Promise.resolve({ answer, url })).get('x', t.signal);
      assert.ok(Array.isArray(found.keys));
      keys = found;
      const leftMs = await admission
        .check(Buffer.from(jwt).toString('latin1'), theirs.thumbprint)
        // A key that cannot be used ends the exchange as a wrong token does.
        .catch(() => undefined);
      if (leftMs === undefined) return;
      admitted++;
      const [head, body] = Buffer.from(jwt).toString().split('.');
      assert.deepEqual([head, body], good.toString().split('.').slice(0, 2));
    },
    { rounds: 3000, codes: ['protocol', 'limit'] },
  );
  assert.ok(admitted > 0);
});
