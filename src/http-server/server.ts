import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { isIP, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { QuayctlError } from '../base/errors.ts';
import { plainAddress } from '../base/ip-address.ts';

/** A token, an image name and a signed query fit four times over. */
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 15_000;
/** Longer than the longest `?wait=`; a client that takes no byte for so long has gone. */
const IDLE_TIMEOUT_MS = 90_000;
const KEEP_ALIVE_MS = 15_000;
/** About 40 KB each at worst. */
const MAX_CONNECTIONS = 4096;
/** Of one address that is no proxy of ours: a whole site behind address translation, but not all there are. */
const MAX_CONNECTIONS_PER_ADDRESS = 2048;
/** Answers under way at the end get so long to finish. */
const GRACE_MS = 10_000;

export interface ListenOptions {
  readonly host: string;
  /** 0 for one of the kernel's choice. */
  readonly port: number;
  /** PEM. */
  readonly tls?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array } | undefined;
  /** True for addresses behind which many clients are. */
  readonly isProxy: (address: string) => boolean;
  readonly connectionsPerAddress?: number | undefined;
}

/** A listening server with its limits. */
export interface HttpServer {
  /** `http://127.0.0.1:7070` */
  readonly url: string;
  /** Refuses new connections, lets answers under way end, then closes what is left. */
  close(): Promise<void>;
}

/**
 * @param handlerFor is told the URL, and answers from the first request on
 * @throws QuayctlError `usage` for a certificate that is none; `port` where the address cannot be had
 */
export async function listen(
  { host, port, tls, isProxy, connectionsPerAddress = MAX_CONNECTIONS_PER_ADDRESS }: ListenOptions,
  handlerFor: (url: string) => (request: IncomingMessage, response: ServerResponse) => void,
): Promise<HttpServer> {
  const server = create(tls);
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  server.setTimeout(IDLE_TIMEOUT_MS);
  limitEachAddress(server, connectionsPerAddress, isProxy);
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new QuayctlError('port', `cannot listen on ${bracketed(host)}:${port}: ${reason}`, {
      cause: error,
    });
  }
  const bound = (server.address() as AddressInfo).port;
  const url = `${tls === undefined ? 'http' : 'https'}://${bracketed(host)}:${bound}`;
  const answering = new Set<ServerResponse>();
  server.on('request', (_request, response: ServerResponse) => {
    answering.add(response);
    response.on('close', () => answering.delete(response));
  });
  // In the same turn of the loop as `listening`: no connection is served before it.
  server.on('request', handlerFor(url));
  return {
    url,
    close: () => closeGracefully(server, answering),
  };
}

function create(tls: ListenOptions['tls']): Server {
  const options = { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: 1000 };
  if (tls === undefined) return createServer(options);
  try {
    return createTlsServer({ ...options, cert: asBuffer(tls.cert), key: asBuffer(tls.key) });
  } catch (error) {
    throw new QuayctlError('usage', 'the TLS certificate and key do not fit each other, or are not PEM', {
      cause: error,
    });
  }
}

/** Nobody takes all connections for himself. */
function limitEachAddress(server: Server, most: number, isProxy: ListenOptions['isProxy']): void {
  const counts = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = plainAddress(socket.remoteAddress ?? '');
    if (isProxy(address)) return;
    const count = (counts.get(address) ?? 0) + 1;
    if (count > most) {
      socket.destroy();
      return;
    }
    counts.set(address, count);
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1;
      if (left === 0) counts.delete(address);
      else counts.set(address, left);
    });
  });
}

/** Node would wait for connections that carry no request, too, until their time-outs. */
async function closeGracefully(server: Server, answering: ReadonlySet<ServerResponse>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const done = Promise.all([...answering].map((response) => once(response, 'close')));
  await Promise.race([done, delay(GRACE_MS, undefined, { ref: false })]);
  server.closeAllConnections();
  await closed;
}

function asBuffer(pem: string | Uint8Array): Buffer {
  return Buffer.from(pem as Uint8Array);
}

function bracketed(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}
