import { createHash } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import { QuayctlError } from '../../base/errors.ts';
import { admitIncoming } from '../admission/handshake.ts';
import type { TorrentAdmission } from '../admission/torrent-admission.ts';
import { TLS_FIRST_BYTE, type PeerTls } from '../wire/peer-tls.ts';
import { PeerWire } from '../wire/peer-wire.ts';
import { addressGroup } from '../../base/address-group.ts';

/** Incoming connections over all torrents. */
const MAX_INCOMING = 1000;
/** Incoming connections from one site. Many nodes may be behind one address. */
const MAX_PER_SITE = 200;
/** Incoming connections from one site that have not finished their handshake. */
const MAX_STRANGERS_PER_SITE = 50;
/** The longest wait for the handshake of an incoming connection. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

export interface PeerListenerOptions {
  /** As in SwarmContext. */
  readonly encryption: number;
  readonly limiter: RateLimiter;
  /** For connections of other nodes; undefined where this node has no key. */
  readonly tls: PeerTls | undefined;
  /** The torrent that a node means (TorrentAdmission's `name`). */
  readonly admissionTo: (name: string) => TorrentAdmission | undefined;
  /** The torrents that any BitTorrent client may take part in, as hex. */
  readonly infoHashes: () => Iterable<string>;
  /** A handshake came, for one of them or another. */
  readonly onWire: (wire: PeerWire, infoHash: string) => void;
}

/** Accepts connections of other peers. A peer must name the info hash of a torrent to reach it. */
export class PeerListener {
  readonly #options: PeerListenerOptions;
  readonly #server: Server;
  /** By site. */
  readonly #open = new Map<string, { all: number; strangers: number }>();
  /** Info hash -> how it is named in an encrypted handshake. */
  readonly #hidden = new Map<string, string>();
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, options: PeerListenerOptions) {
    this.#options = options;
    this.#server = server;
    server.maxConnections = MAX_INCOMING;
    server.on('connection', (socket) => this.#admit(socket));
    // Its socket is lost: nobody comes in any more, what is connected goes on.
    server.on('error', () => {});
  }

  /** @param port 0: the kernel's choice @returns undefined when the port is taken or forbidden */
  static async tryOpen(port: number, options: PeerListenerOptions): Promise<PeerListener | undefined> {
    const server = createServer();
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, () => {
          server.off('error', reject);
          resolve();
        });
      });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EADDRINUSE' || code === 'EACCES') return undefined;
      throw new QuayctlError('port', 'no port can be opened for peers', { cause: error });
    }
    return new PeerListener(server, options);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #admit(socket: Socket): void {
    const site = addressGroup(socket.remoteAddress ?? '');
    const count = this.#open.get(site) ?? { all: 0, strangers: 0 };
    if (count.all >= MAX_PER_SITE || count.strangers >= MAX_STRANGERS_PER_SITE) {
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    this.#open.set(site, count);
    this.#sockets.add(socket);
    count.all++;
    count.strangers++;
    let isStranger = true;
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS).unref();
    const known = (): void => {
      clearTimeout(timer);
      if (isStranger) count.strangers--;
      isStranger = false;
    };
    socket.on('error', () => {});
    socket.once('close', () => {
      known();
      this.#sockets.delete(socket);
      if (--count.all === 0) this.#open.delete(site);
    });
    socket.once('readable', () => {
      const wire = this.#wireOn(socket);
      wire?.once('handshake', (infoHash: string) => {
        known();
        this.#options.onWire(wire, infoHash);
      });
    });
  }

  /** TLS is told from BitTorrent's handshakes by its first bytes. */
  #wireOn(socket: Socket): PeerWire | undefined {
    const { tls, encryption, limiter } = this.#options;
    const first = socket.read() as Buffer | null;
    if (first === null) {
      socket.destroy();
      return undefined;
    }
    socket.unshift(first);
    if (tls === undefined || !isClientHello(first)) {
      const wire = new PeerWire(socket, 'Incoming', encryption, limiter);
      wire.once('crypto-infohash', (hidden: string) => this.#reveal(wire, hidden));
      return wire;
    }
    socket.setNoDelay(true);
    const wire = new PeerWire(tls.accept(socket), 'Incoming', 0, limiter);
    wire.onceSecure(() => void admitIncoming(wire, this.#options.admissionTo));
    return wire;
  }

  #reveal(wire: PeerWire, hidden: string): void {
    for (const infoHash of this.#options.infoHashes()) {
      if (this.#hiddenNameOf(infoHash) === hidden) return wire.setInfoHash(infoHash);
    }
    wire.destroy();
  }

  /** Message Stream Encryption names a torrent by a hash of its info hash; a seed of thousands is asked often. */
  #hiddenNameOf(infoHash: string): string {
    let name = this.#hidden.get(infoHash);
    if (name === undefined) {
      name = createHash('sha1').update('req2').update(Buffer.from(infoHash, 'hex')).digest('hex');
      this.#hidden.set(infoHash, name);
    }
    return name;
  }
}

/**
 * A TLS record of type handshake, in the version that RFC 8446 (5.1) has a first one in. An encrypted BitTorrent handshake
 * begins with random bytes, so the first byte alone would be taken for TLS once in 256 times.
 */
function isClientHello(bytes: Uint8Array): boolean {
  return bytes[0] === TLS_FIRST_BYTE && (bytes.length < 2 || bytes[1] === 3);
}
