import { randomBytes } from 'node:crypto';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import Wire from 'bittorrent-protocol';
import type { Metainfo } from '../../src/metainfo/metainfo.ts';
import type { Scope } from '../helpers/processes.ts';

/** What a peer without a client behind it does with a connection. */
export type Behaviour = (wire: Wire, metainfo: Metainfo) => void;

/**
 * A raw peer that says it has everything and unchokes, then does what the test wants. It is announced to the
 * tracker by hand.
 */
export async function rawPeer(
  scope: Scope,
  tracker: string,
  metainfo: Metainfo,
  behave: Behaviour,
): Promise<{ port: number; connections: () => number }> {
  const sockets = new Set<Socket>();
  const peerId = randomBytes(20);
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    const wire = new Wire('tcpIncoming', 0) as Wire & NodeJS.ReadWriteStream;
    wire.on('error', () => {});
    socket.pipe(wire).pipe(socket);
    wire.on('handshake', () => {
      wire.handshake(metainfo.infoHash, peerId.toString('hex'), { fast: true });
      wire.haveAll();
      wire.unchoke();
      behave(wire, metainfo);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const hex = (bytes: string): string => bytes.replaceAll(/../g, '%$&');
  const query = `info_hash=${hex(metainfo.infoHash)}&peer_id=${hex(peerId.toString('hex'))}`;
  const answer = await fetch(`${tracker}?${query}&port=${port}&uploaded=0&downloaded=0&left=0&event=started`);
  await answer.arrayBuffer();
  return { port, connections: () => connections };
}

/** Takes requests and never answers. */
export const silent: Behaviour = () => {};

/** Answers every request with bytes that are wrong. */
export const lying: Behaviour = (wire) => {
  wire.on(
    'request',
    (_index: number, _offset: number, length: number, answer: (error: null, bytes: Uint8Array) => void) =>
      answer(null, randomBytes(length)),
  );
};
