import { connect, type Socket, type TcpSocketConnectOpts } from 'node:net';
import { platform } from 'node:os';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import type { PeerTls, SharedRead } from './peer-tls.ts';
import { PeerWire } from './peer-wire.ts';

/**
 * What comes on a dialled connection is read into one buffer for all of them, and taken out of it before the next read:
 * no memory to allocate and to collect for each read (a sixth of the CPU of a download). Bytes. Windows reads ahead of
 * time, so there each connection would need a buffer of its own; it reads as Node does by itself. Node offers this for
 * connections that are dialled, and not for those that come in.
 */
const READ_BYTES = 256 * 1024;
let readBuffer: Uint8Array | undefined;

/**
 * Begins a connection.
 * @param encryption 0: none, 1: encrypted handshake, then plaintext where the other agrees, 2: RC4 or nothing
 * @param limiter of what is received
 */
export function dialPeer(end: TcpSocketConnectOpts, encryption: number, limiter: RateLimiter): PeerWire {
  const open = (onread: SharedRead | undefined): Socket =>
    connect(onread === undefined ? end : { ...end, onread });
  return dialShared(open, encryption, limiter);
}

/** Begins a TLS connection with another node. Who is there has to be admitted before the wire protocol begins. */
export function dialPeerTls(
  end: { readonly host: string; readonly port: number },
  tls: PeerTls,
  limiter: RateLimiter,
): PeerWire {
  return dialShared((onread) => tls.dial(end, onread), 0, limiter);
}

/** @param open makes a socket that reads into a buffer for all, where it is given one */
function dialShared(
  open: (onread: SharedRead | undefined) => Socket,
  encryption: number,
  limiter: RateLimiter,
): PeerWire {
  if (platform() === 'win32') return new PeerWire(open(undefined), 'Outgoing', encryption, limiter);
  readBuffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
  const onread = {
    buffer: readBuffer,
    callback: (length: number, buffer: Uint8Array) => {
      wire.receiveShared(buffer.subarray(0, length), limiter);
      return true;
    },
  };
  const wire = new PeerWire(open(onread), 'Outgoing', encryption, limiter);
  return wire;
}
