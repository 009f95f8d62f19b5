import { randomBytes } from 'node:crypto';
import WebTorrent from 'webtorrent';
import { QuayctlError } from '../base/errors.ts';
import { guardWires, limitIncoming } from './privates.ts';
import type { EncryptionMode, SwarmClientOptions } from './swarm-client.ts';

/** Azureus style (BEP 20): client, version, then random bytes. */
const PEER_ID_PREFIX = '-QC0100-';
const USER_AGENT = 'quayctl';
/** Outgoing connections per torrent. */
const MAX_CONNECTIONS = 80;
/** Incoming ones over all torrents. */
const MAX_INCOMING = 1000;
/** webtorrent 3.0.21: 0 off, 1 encrypted handshake and then plaintext where the other agrees, 2 RC4 or nothing. */
const SECURE: Readonly<Record<EncryptionMode, number>> = { 0: 2, 1: 1, 2: 0 };

/**
 * A webtorrent client on the first free port of the range.
 * @throws QuayctlError `port` when the range is full and was the user's
 */
export async function listen(options: SwarmClientOptions): Promise<WebTorrent> {
  guardWires();
  const { lowerPort, upperPort, portRangeStrict = false, encryptionMode = 1, onWarning } = options;
  for (let port = lowerPort; port <= upperPort; port++) {
    const client = await tryListen(port, SECURE[encryptionMode]);
    if (client !== undefined) return client;
  }
  const full = `no port from ${lowerPort} to ${upperPort} is free`;
  if (portRangeStrict) throw new QuayctlError('port', full, { hint: 'give a wider range' });
  const client = await tryListen(0, SECURE[encryptionMode]);
  if (client === undefined) throw new QuayctlError('port', 'no port can be opened for peers');
  onWarning?.(`${full}; peers reach this node at port ${client.torrentPort}`);
  return client;
}

/** @returns undefined when the port is taken or forbidden */
async function tryListen(port: number, secure: number): Promise<WebTorrent | undefined> {
  const client = new WebTorrent({
    peerId: Buffer.concat([Buffer.from(PEER_ID_PREFIX), randomBytes(12)]).toString('hex'),
    userAgent: USER_AGENT,
    torrentPort: port,
    maxConns: MAX_CONNECTIONS,
    // Set below: with 2 the constructor writes to the console.
    secure: 1,
    // protocol.md: nothing is announced outside the tracker. `private` alone does not stop local discovery.
    dht: false,
    lsd: false,
    utPex: false,
    utp: false,
    natUpnp: false,
    natPmp: false,
    // Our own announcer asks the trackers, our own registry peer stands for web seeds.
    tracker: false,
    webSeeds: false,
  });
  client.secure = secure;
  const listening = Promise.withResolvers<boolean>();
  const onError = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EADDRINUSE' || error.code === 'EACCES') listening.resolve(false);
    else listening.reject(error);
  };
  client.once('listening', () => listening.resolve(true));
  client.once('error', onError);
  if (!(await listening.promise)) return undefined;
  client.removeListener('error', onError);
  // Errors of torrents go to the torrents; the socket's own end the client, which `join` then reports.
  client.on('error', () => {});
  limitIncoming(client, MAX_INCOMING);
  return client;
}
