import { createHash } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { RateLimiter } from '../../base/rate-limiter.ts';
import { QuayctlError } from '../../base/errors.ts';
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
  /** The torrents that this process takes part in, as hex. */
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
    const wire = new PeerWire(socket, 'Incoming', this.#options.encryption, this.#options.limiter);
    const timer = setTimeout(() => wire.destroy(), HANDSHAKE_TIMEOUT_MS).unref();
    const known = (): void => {
      clearTimeout(timer);
      if (isStranger) count.strangers--;
      isStranger = false;
    };
    wire.once('close', () => {
      known();
      this.#sockets.delete(socket);
      if (--count.all === 0) this.#open.delete(site);
    });
    wire.once('crypto-infohash', (hidden: string) => this.#reveal(wire, hidden));
    wire.once('handshake', (infoHash: string) => {
      known();
      this.#options.onWire(wire, infoHash);
    });
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
