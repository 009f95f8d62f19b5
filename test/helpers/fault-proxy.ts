import { once } from 'node:events';
import {
  createServer as createHttpServer,
  request,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Link, LINK_CHUNK, passThrough, type Faults } from './faults.ts';
import type { Scope } from './processes.ts';

/** Bytes that went through, payload of TCP or of HTTP bodies. */
export interface Traffic {
  toServer: number;
  toClient: number;
}

interface Proxy {
  readonly port: number;
  /** `127.0.0.1:PORT` */
  readonly host: string;
  readonly traffic: Traffic;
  /**
   * SingleFlight by all connections, and by several proxies that are given the same one; `link.bytesPerSecond` may be
   * changed at any time. Infinity at first.
   */
  link: Link;
  /** Destroys every open connection. */
  cutAll(): void;
  /** Stops listening and cuts: from now on connections are refused by the kernel. */
  down(): Promise<void>;
  /** Listens again on the same port. */
  up(): Promise<void>;
}

export interface TcpFaultProxy extends Proxy {
  /** For connections made from now on. */
  faults: Faults;
}

/** Faults of HTTP answers, for requests that match. */
export interface HttpFault extends Faults {
  /** Against `METHOD /path?query`; default: every request. */
  readonly match?: RegExp;
  /** Answer this status in the server's stead, with these headers. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** How often; default: always. */
  readonly times?: number;
}

export interface HttpFaultProxy extends Proxy {
  readonly url: string;
  /** The first that matches is done. Put in what shall go wrong, empty it to heal. */
  readonly faults: HttpFault[];
  /** `METHOD /path?query STATUS bytes` of each answer begun, in order. */
  readonly requests: string[];
}

/** In front of any TCP server (tracker, BitTorrent peer, TLS registry). */
export async function startTcpFaultProxy(
  scope: Scope,
  target: { readonly port: number; readonly host?: string },
): Promise<TcpFaultProxy> {
  const traffic: Traffic = { toServer: 0, toClient: 0 };
  const server = createTcpServer({ allowHalfOpen: true }, (client) => {
    const { faults } = proxy;
    if (faults.refuse === true) return void client.destroy();
    const upstream = connect({ port: target.port, host: target.host ?? '127.0.0.1', allowHalfOpen: true });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.on('error', () => other.destroy());
      socket.on('close', () => other.destroy());
    }
    client.on('data', (chunk: Buffer) => {
      traffic.toServer += chunk.length;
    });
    client.pipe(upstream);
    if (faults.silent !== true)
      void carry(upstream, client, faults, proxy.link, traffic).catch(() => client.destroy());
  });
  const proxy: TcpFaultProxy = {
    ...(await listening(scope, server)),
    traffic,
    link: new Link(Infinity),
    faults: {},
  };
  return proxy;
}

/**
 * In front of an HTTP server; keeps the Host header, so that absolute Locations lead back through the proxy.
 * @param target its URL, or what gives it for each request: a server that must know the proxy's URL starts later
 */
export async function startHttpFaultProxy(
  scope: Scope,
  target: string | (() => string),
): Promise<HttpFaultProxy> {
  const traffic: Traffic = { toServer: 0, toClient: 0 };
  const faults: HttpFault[] = [];
  const requests: string[] = [];
  const used = new Map<HttpFault, number>();

  const faultFor = (line: string): HttpFault => {
    const fault = faults.find(
      (each) => (each.match ?? /^/).test(line) && (used.get(each) ?? 0) < (each.times ?? Infinity),
    );
    if (fault === undefined) return {};
    used.set(fault, (used.get(fault) ?? 0) + 1);
    return fault;
  };

  const server = createHttpServer((incoming, outgoing) => {
    const line = `${incoming.method} ${incoming.url}`;
    const fault = faultFor(line);
    incoming.on('data', (chunk: Buffer) => {
      traffic.toServer += chunk.length;
    });
    if (fault.refuse === true) return void incoming.socket.destroy();
    if (fault.silent === true) return void incoming.resume();
    if (fault.status !== undefined) {
      requests.push(`${line} ${fault.status}`);
      outgoing.writeHead(fault.status, fault.headers).end();
      return void incoming.resume();
    }
    forward(typeof target === 'string' ? target : target(), incoming, outgoing, async (answer) => {
      requests.push(`${line} ${answer.statusCode}`);
      if (fault.delayMs !== undefined) await sleep(fault.delayMs);
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      outgoing.flushHeaders();
      await carry(answer, outgoing, { ...fault, delayMs: 0 }, proxy.link, traffic);
    });
  });
  const base = await listening(scope, server);
  const proxy: HttpFaultProxy = {
    ...base,
    url: `http://${base.host}`,
    traffic,
    link: new Link(Infinity),
    faults,
    requests,
  };
  return proxy;
}

function forward(
  target: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answered: (answer: IncomingMessage) => Promise<void>,
): void {
  const url = new URL(incoming.url ?? '/', target);
  const call = request(url, { method: incoming.method, headers: incoming.headers }, (answer) => {
    answered(answer).catch(() => outgoing.destroy());
  });
  call.on('error', () => {
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(502).end();
  });
  outgoing.on('close', () => call.destroy());
  incoming.pipe(call);
}

/** Carries the server's bytes to the client, doing the faults on the way. */
async function carry(
  from: AsyncIterable<Buffer>,
  to: Socket | ServerResponse,
  faults: Faults,
  link: Link,
  traffic: Traffic,
): Promise<void> {
  let offset = 0;
  if (faults.delayMs !== undefined) await sleep(faults.delayMs);
  if (faults.cutAfter === 0) return void to.destroy();
  if (faults.stallAfter === 0) return void (await once(to, 'close'));
  for await (const whole of from) {
    for (let at = 0; at < whole.length; at += LINK_CHUNK) {
      const chunk = whole.subarray(at, at + LINK_CHUNK);
      const { bytes, then } = passThrough(faults, offset, chunk);
      offset += chunk.length;
      await link.pass(bytes.length);
      traffic.toClient += bytes.length;
      await written(to, bytes);
      if (then === 'cut') return void to.destroy();
      if (then === 'stall') return void (await once(to, 'close'));
    }
  }
  to.end();
}

function written(to: Socket | ServerResponse, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    to.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

async function listening(
  scope: Scope,
  server: Server,
): Promise<Pick<Proxy, 'port' | 'host' | 'cutAll' | 'down' | 'up'>> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  const cutAll = (): void => open.forEach((socket) => socket.destroy());
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
  const down = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      cutAll();
    });

  await listen(0);
  const { port } = server.address() as AddressInfo;
  scope.after(async () => {
    if (server.listening) await down();
  });
  const up = async (): Promise<void> => {
    if (!server.listening) await listen(port);
  };
  return { port, host: `127.0.0.1:${port}`, cutAll, down, up };
}
