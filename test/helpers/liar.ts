import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import Wire from 'bittorrent-protocol';
import type { Metainfo } from '../../src/metainfo/metainfo.ts';
import type { Scope } from './processes.ts';

/** What a peer without a client behind it does with a connection. */
export type Behaviour = (wire: RawWire, metainfo: Metainfo) => void;

/** bittorrent-protocol's own, without what quayctl puts around it; `push` sends bytes as they are. */
export type RawWire = Wire & { push(bytes: Uint8Array): boolean };

export interface Liar {
  readonly port: number;
  /** Somebody has dialled it. */
  readonly met: Promise<void>;
  connections(): number;
}

export interface LiarOptions {
  /** What its handshake names in place of the torrent. */
  readonly infoHash?: string;
  /** Says by itself what it has, and whether it unchokes. */
  readonly isBare?: boolean;
}

/**
 * A peer that says it has everything and unchokes, then does what the test wants. It is announced to the tracker by
 * hand, as somebody else on each connection.
 */
export async function startLiar(
  scope: Scope,
  tracker: string,
  metainfo: Metainfo,
  behave: Behaviour,
  { infoHash = metainfo.infoHash, isBare = false }: LiarOptions = {},
): Promise<Liar> {
  const sockets = new Set<Socket>();
  const announcedId = randomBytes(20);
  let connections = 0;
  const met = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    const wire = new Wire('tcpIncoming', 0) as RawWire & NodeJS.ReadWriteStream;
    wire.on('error', () => {});
    socket.pipe(wire).pipe(socket);
    wire.on('handshake', () => {
      wire.handshake(infoHash, randomBytes(20).toString('hex'), { fast: true });
      if (!isBare) {
        wire.haveAll();
        wire.unchoke();
      }
      behave(wire, metainfo);
      met.resolve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const hex = (bytes: string): string => bytes.replaceAll(/../g, '%$&');
  const query = `info_hash=${hex(metainfo.infoHash)}&peer_id=${hex(announcedId.toString('hex'))}`;
  const answer = await fetch(`${tracker}?${query}&port=${port}&uploaded=0&downloaded=0&left=0&event=started`);
  await answer.arrayBuffer();
  return { port, met: met.promise, connections: () => connections };
}

/** Takes requests and never answers. */
export const silent: Behaviour = () => {};

/** The same, and gives signs of life. */
export const busy: Behaviour = (wire) => repeat(wire, 200, () => wire.push(message(1)));

/** Refuses whatever it is asked for (BEP 6). */
export const refusing: Behaviour = (wire) => {
  wire.on(
    'request',
    (_index: number, _offset: number, _length: number, answer: (error: Error, bytes: null) => void) =>
      answer(new Error('refused'), null),
  );
};

/** Answers every request with bytes that are wrong. */
export const lying: Behaviour = (wire) => {
  wire.on(
    'request',
    (_index: number, _offset: number, length: number, answer: (error: null, bytes: Uint8Array) => void) =>
      answer(null, randomBytes(length)),
  );
};

/** Bytes as they are, after a good handshake. */
export const sends =
  (...parts: Uint8Array[]): Behaviour =>
  (wire) => {
    setTimeout(() => {
      for (const part of parts) if (!wire.destroyed) wire.push(part);
    }, 50);
  };

/** The same bytes as fast as they are taken, without reading what comes back. */
export const floods =
  (bytes: Uint8Array): Behaviour =>
  (wire) =>
    repeat(wire, 1, () => wire.push(bytes));

/** Again and again, until the connection ends. */
export function repeat(wire: RawWire, everyMs: number, work: () => void): void {
  const timer = setInterval(() => {
    if (wire.destroyed) clearInterval(timer);
    else work();
  }, everyMs);
  timer.unref();
  wire.on('close', () => clearInterval(timer));
}

/** One message of the wire protocol (BEP 3). */
export function message(id: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([uint32(1 + payload.length), Buffer.of(id), payload]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, at) => bytes.writeUInt32BE(value, at * 4));
  return bytes;
}
