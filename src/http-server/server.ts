import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import { chmod, lstat, rm } from 'node:fs/promises';
import { connect, isIP, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { QuayctlError } from '../base/errors.ts';
import { limitConnections } from './connection-limit.ts';
import { oneAtATime, type RequestHandler } from './one-at-a-time.ts';
import { ReaderRate } from './reader-rate.ts';
import type { ShareLimits } from './shares.ts';
import { whenOver } from './when-over.ts';

/** The headers of a request. A token, an image name and a signed query fit four times over. */
const MAX_HEADER_BYTES = 16 * 1024;
/** The longest time in which a client must send its headers. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 15_000;
/** A connection on which no byte moves for this long is closed. It is longer than the longest `?wait=`. */
const IDLE_TIMEOUT_MS = 90_000;
const KEEP_ALIVE_MS = 15_000;
/** The longest time in which a client must finish its TLS handshake. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Connections, in all and of one site. Each takes about 40 KB at worst. */
const CONNECTIONS: ShareLimits = { most: 4096, mostEach: 2048 };
/** So that it is we who decide which connection goes, not Node. */
const SPARE_CONNECTIONS = 64;
/** How long a client may take to accept a chunk of 64 KiB, which is the slowest accepted rate. */
const READER_PATIENCE_MS = 60_000;
/** When the service stops, answers under way get this long to finish. */
const GRACE_MS = 10_000;

/** An address, or a Unix socket, which only this user may connect to. */
export type ListenPlace =
  | {
      readonly host: string;
      /** 0 for one of the kernel's choice. */
      readonly port: number;
    }
  | { readonly path: string };

export interface ListenOptions {
  readonly place: ListenPlace;
  /** PEM. */
  readonly tls?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array } | undefined;
  /** True for addresses behind which many clients are. */
  readonly isProxy: (address: string) => boolean;
  readonly bounds?: Partial<ServerBounds> | undefined;
}

/** How much of a server its clients may use. */
export interface ServerBounds {
  /** Open at one time; trusted proxies are not counted. */
  readonly connections: ShareLimits;
  /** For which a client may take less than 1 KiB/s of its answer, milliseconds. */
  readonly readerPatienceMs: number;
}

/** A listening server with its limits. */
export interface HttpServer {
  /** `http://127.0.0.1:7070`, or `unix:PATH` */
  readonly url: string;
  /** New connections get this certificate. @throws QuayctlError `usage` for one that is none, or a server without TLS */
  useCertificate(pair: NonNullable<ListenOptions['tls']>): void;
  /** Refuses new connections, lets answers under way end, then closes what is left. */
  close(): Promise<void>;
}

/**
 * @param handlerFor is told the URL, and answers from the first request on
 * @throws QuayctlError `usage` for an invalid certificate; `port` where the address cannot be had
 */
export async function listen(
  { place, tls, isProxy, bounds = {} }: ListenOptions,
  handlerFor: (url: string) => RequestHandler,
): Promise<HttpServer> {
  const server = create(tls);
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  const connections = bounds.connections ?? CONNECTIONS;
  server.maxConnections = connections.most + SPARE_CONNECTIONS;
  server.setTimeout(IDLE_TIMEOUT_MS);
  limitConnections(server, connections, isProxy);
  try {
    if ('path' in place) await removeDeadSocket(place.path);
    server.listen('path' in place ? place.path : { host: place.host, port: place.port });
    await once(server, 'listening');
    if ('path' in place) await chmod(place.path, 0o600);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new QuayctlError('port', `cannot listen on ${shown(place)}: ${reason}`, {
      cause: error,
    });
  }
  const url = urlOf(place, server, tls === undefined ? 'http' : 'https');
  const answering = new Set<ServerResponse>();
  const readers = new ReaderRate(bounds.readerPatienceMs ?? READER_PATIENCE_MS);
  const handler = handlerFor(url);
  // In the same turn of the loop as `listening`: no connection is served before it.
  server.on(
    'request',
    oneAtATime((request, response) => {
      answering.add(response);
      readers.watch(response);
      whenOver(response, () => {
        answering.delete(response);
        readers.forget(response);
      });
      handler(request, response);
    }),
  );
  return {
    url,
    useCertificate: (pair) =>
      withPem(() => {
        if (!(server instanceof TlsServer)) throw new TypeError('the server does not speak TLS');
        server.setSecureContext({ cert: asBuffer(pair.cert), key: asBuffer(pair.key) });
      }),
    close: async () => {
      await closeGracefully(server, answering);
      readers.close();
    },
  };
}

function create(tls: ListenOptions['tls']): Server {
  const options = { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: 1000 };
  if (tls === undefined) return createServer(options);
  const pair = { cert: asBuffer(tls.cert), key: asBuffer(tls.key) };
  return withPem(() => createTlsServer({ ...options, ...pair, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }));
}

/** @throws QuayctlError `usage` for what OpenSSL does not take */
function withPem<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new QuayctlError('usage', 'the TLS certificate and key do not fit each other, or are not PEM', {
      cause: error,
    });
  }
}

/** Node would wait for connections that carry no request, too, until their time-outs. */
async function closeGracefully(server: Server, answering: ReadonlySet<ServerResponse>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const done = Promise.all(
    [...answering].map((response) => new Promise<void>((resolve) => whenOver(response, resolve))),
  );
  await Promise.race([done, delay(GRACE_MS, undefined, { ref: false })]);
  server.closeAllConnections();
  await closed;
}

/** Removes the socket of a service that was killed, at which no process listens. Anything else at that path stays. */
async function removeDeadSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() !== true) return;
  const socket = connect(path);
  const isDead = await new Promise((resolve) => {
    socket.once('connect', () => resolve(false));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
  socket.destroy();
  if (isDead === true) await rm(path, { force: true });
}

function urlOf(place: ListenPlace, server: Server, scheme: string): string {
  if ('path' in place) return `unix:${place.path}`;
  return `${scheme}://${bracketed(place.host)}:${(server.address() as AddressInfo).port}`;
}

function shown(place: ListenPlace): string {
  return 'path' in place ? `unix:${place.path}` : `${bracketed(place.host)}:${place.port}`;
}

function asBuffer(pem: string | Uint8Array): Buffer {
  return Buffer.from(pem as Uint8Array);
}

function bracketed(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}
