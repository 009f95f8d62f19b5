import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import test from 'node:test';
import { PeerBans } from '../../src/swarm/peers/peer-bans.ts';
import { TorrentState } from '../../src/swarm/peers/torrent-state.ts';
import { sample } from './kit.ts';
import { Connections } from '../../src/swarm/peers/connections.ts';
import type { PeerWire } from '../../src/swarm/wire/peer-wire.ts';

const SELF = 'ff'.repeat(20);
const HOST = '192.0.2.7';

/** Of a connection what Connections looks at. */
class FakeWire extends EventEmitter {
  readonly peerId: string;
  readonly incoming: boolean;
  readonly remoteAddress: string;
  readonly peerPieces = { buffer: new Uint8Array(1), get: () => false };
  readonly peerExtendedHandshake: Record<string, unknown> = {};
  readonly isEncrypted = false;
  peerChoking = true;
  destroyed = false;
  offence: string | undefined;

  constructor(peerId: string, incoming = true, remoteAddress = HOST) {
    super();
    this.peerId = peerId;
    this.incoming = incoming;
    this.remoteAddress = remoteAddress;
  }

  says(port: unknown): void {
    this.peerExtendedHandshake['p'] = port;
    this.emit('extended', 'handshake');
  }

  reportViolation(what: string): void {
    this.offence ??= what;
    this.destroy();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('close');
  }
}

function open(): {
  state: TorrentState;
  connections: Connections;
  join: (wire: FakeWire, address?: string) => boolean;
} {
  const state = new TorrentState(sample(8 * 2 ** 19, []).metainfo, []);
  const connections = new Connections(state, { selfId: SELF, encryptedOnly: false });
  const join = (wire: FakeWire, address?: string): boolean => {
    connections.accept(wire as unknown as PeerWire, address);
    return !wire.destroyed;
  };
  return { state, connections, join };
}

const id = (n: number): string => n.toString(16).padStart(40, '0');

test('a peer says where it is reached for its own host, one place at a time, while it is connected', () => {
  const { connections, join } = open();
  const wire = new FakeWire(id(1));
  assert.ok(join(wire));
  wire.says(1000);
  assert.ok(connections.refuses(`${HOST}:1000`));
  assert.equal(connections.refuses('192.0.2.8:1000'), false);
  for (const port of [2000, 3000]) wire.says(port);
  assert.deepEqual(
    [1000, 2000, 3000].map((port) => connections.refuses(`${HOST}:${port}`)),
    [false, false, true],
  );
  wire.says('x');
  wire.destroy();
  assert.equal(connections.refuses(`${HOST}:3000`), false);
});

test('where somebody answered, nobody else can say that it is he', () => {
  const { connections, join } = open();
  const honest = new FakeWire(id(1), false);
  assert.ok(join(honest, `${HOST}:1000`));
  const liar = new FakeWire(id(2));
  assert.ok(join(liar));
  liar.says(1000);
  honest.destroy();
  assert.equal(connections.refuses(`${HOST}:1000`), false);
});

test('an old connection is not ended by whoever comes with the same id; one of the same moment is, by one rule', (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const { join } = open();
  const [young, old] = [new FakeWire(id(1), true), new FakeWire(id(2), true)];
  assert.ok(join(young) && join(old));
  // The greater id keeps what it dialled: that is us.
  assert.ok(join(new FakeWire(id(1), false)));
  assert.ok(young.destroyed);
  now = 60_000;
  assert.equal(join(new FakeWire(id(2), false)), false);
  assert.equal(old.destroyed, false);
});

test('a connection that has ended is not taken for a peer', () => {
  const { state, join } = open();
  const wire = new FakeWire(id(1));
  wire.destroy();
  join(wire);
  assert.equal(state.peers.size, 0);
});

test('those who come leave room for those who are dialled, and three liars close their host to others', () => {
  const { state, join } = open();
  let came = 0;
  for (let n = 1; n <= 300; n++) if (join(new FakeWire(id(n)))) came++;
  assert.equal(came, 120);
  assert.ok(join(new FakeWire(id(1000), false), '192.0.2.9:1'));
  for (const { wire } of [...state.peers.values()].slice(0, 3)) wire.reportViolation('a lie');
  assert.equal(join(new FakeWire(id(2000))), false);
  assert.ok(join(new FakeWire(id(2001), true, '192.0.2.8')));
  assert.ok(join(new FakeWire(id(2002), false), `${HOST}:5`), 'a tracker named it');
});

test('what offends is banned by id and by the address at which it was dialled', () => {
  const { connections, join } = open();
  const liar = new FakeWire(id(1), false);
  assert.ok(join(liar, `${HOST}:1000`));
  liar.reportViolation('a lie');
  assert.ok(connections.refuses(`${HOST}:1000`));
  assert.equal(join(new FakeWire(id(1))), false);
});

test('what is remembered is bounded', () => {
  const book = new PeerBans();
  for (let n = 0; n < 6000; n++) {
    book.answered(`${HOST}:${n}`, id(n));
    book.ban(id(n), { address: undefined, host: HOST });
  }
  assert.equal(book.peerAt(`${HOST}:5500`), undefined);
  assert.equal(book.isBanned(id(5500)), false);
  assert.ok(book.isBanned(id(4999)) && book.isBannedHost(HOST));
});
