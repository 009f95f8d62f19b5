import { isIP, Socket, type LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { Agent, buildConnector, ProxyAgent, type Dispatcher } from 'undici';
import { hostCertificates } from './certificates.ts';
import { QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { codingOf, decodeBody } from './content-encoding.ts';
import { denyLocal, isLocalAddress, lookupBySystem, refuseLocal, type Lookup } from './local-address.ts';
import { orAborted } from '../base/abort.ts';
import { isUnknownAuthority, networkError } from './network-error.ts';
import { proxyFor } from './proxy.ts';
import { redact } from '../base/redact.ts';
import { withMinimumRate } from './minimum-rate.ts';

/** The longest wait for a connection, TLS included. */
const CONNECT_TIMEOUT_MS = 10_000;
/**
 * The longest wait for an answer to begin, where no other limit is given below. Registries may have to look a blob up
 * in slow storage.
 */
const HEADERS_TIMEOUT_MS = 30_000;
/** A transfer in which no byte arrives for this long is ended, and resumed by whoever asked for it. */
const STALL_TIMEOUT_MS = 10_000;
/** The headers of an answer. Registries send a few hundred bytes, signed redirects up to some kilobytes. */
const MAX_HEADER_BYTES = 32 * 1024;
/** How long an idle connection is kept. Registries close them after a minute or more. */
const KEEP_ALIVE_MS = 30_000;

export interface HttpOptions {
  /** HTTPS_PROXY, HTTP_PROXY, NO_PROXY, in either case. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Docker's `certs.d`: HOST/ca.crt, client.cert, client.key. */
  readonly certsDirectory: string;
  /** Milliseconds without a byte after which a body is given up; 10 s where nothing is said. */
  readonly stallTimeoutMs?: number;
  /** How often a question is asked again that fails for a moment; where nothing is said, as each kind of it has it. */
  readonly retries?: number;
  /** How names become addresses; the system's way by default. */
  readonly lookup?: Lookup;
  /** The protocol log: one line for each answer or failure, without secrets. */
  readonly onExchange?: (line: string) => void;
}

export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Milliseconds until the answer begins; 30 s where nothing is said. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds without a byte after which the body is given up; 10 s where nothing is said. */
  readonly stallTimeoutMs?: number;
  /** A host elsewhere has named this place: it must not be on this machine. */
  readonly denyLocal?: boolean;
  /**
   * The registry, as its user names it, that led to this place. Its folder in `certs.d` counts here, too, as it does
   * for Docker: token servers and storage often have certificates of the same authority.
   */
  readonly registry?: string | undefined;
  readonly signal: AbortSignal;
}

/** One answer, redirects not followed. The body must be read, dumped or dropped. */
export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Readable & { dump?(options: { limit: number; signal: AbortSignal }): Promise<void> };
}

/** Of a host's certificate. */
export interface HostCertificate {
  /** As in the certificate, a name a line: `C=US`, `O=Example`, `CN=Example Root`. */
  readonly issuer: string;
  readonly validUntil: Date;
}

/** The door to the network: connections, TLS and proxies of this run. Certificate checks are never turned off. */
export class Http {
  readonly #options: HttpOptions;
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();
  /** Origin -> whether every connection to it so far ended at this machine. */
  readonly #endsHere = new Map<string, boolean>();
  /** The last connection to each origin. */
  readonly #tlsSockets = new Map<string, TLSSocket>();
  /** Origins with which the system's authorities count: Node's own were not enough. */
  readonly #systemTrusted = new Set<string>();

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  /** `--retries`, the first attempt included. */
  get attempts(): number | undefined {
    const { retries } = this.#options;
    return retries === undefined ? undefined : retries + 1;
  }

  /**
   * Whether a host that has answered is this machine: every connection to it ended here. Its name does not count, which
   * may have an address elsewhere and one on loopback. Only such a host may lead to this machine (see redirect.ts).
   */
  isLocal(url: URL): boolean {
    return this.#endsHere.get(url.origin) ?? isLoopback(url.hostname);
  }

  /** What the host showed over TLS when it was connected to last; undefined for plain HTTP, and behind a proxy. */
  certificateOf(url: URL): HostCertificate | undefined {
    const certificate = this.#tlsSockets.get(url.origin)?.getPeerX509Certificate();
    if (certificate === undefined) return undefined;
    return { issuer: certificate.issuer, validUntil: new Date(certificate.validTo) };
  }

  /**
   * An address of a host, for what does not go over HTTP.
   * @throws QuayctlError `unreachable`; `protocol` where it is on this machine and must not be
   */
  async resolve(hostname: string, { denyLocal: isRemote }: { readonly denyLocal: boolean }): Promise<string> {
    const lookup = this.#options.lookup ?? lookupBySystem;
    const url = new URL(`http://${hostname.includes(':') ? `[${hostname}]` : hostname}`);
    if (isRemote) refuseLocal(url);
    if (isIP(hostname) !== 0) return hostname;
    try {
      const [first] = await (isRemote ? denyLocal(lookup) : lookup)(hostname);
      if (first !== undefined) return first.address;
    } catch (error) {
      throw networkError(url, error);
    }
    throw new QuayctlError('unreachable', `${hostname} has no address`);
  }

  /**
   * @throws QuayctlError `unreachable` naming host and reason; `limit` for endless headers; `protocol` where it is on
   *   this machine and must not be; the signal's reason
   */
  async request(url: URL, options: HttpRequest): Promise<HttpAnswer> {
    try {
      return await this.#request(url, options);
    } catch (error) {
      if (this.#systemTrusted.has(url.origin) || !isUnknownAuthority(error)) throw error;
      this.#systemTrusted.add(url.origin);
      // Nothing was sent: the handshake failed.
      return this.#request(url, options);
    }
  }

  async #request(url: URL, options: HttpRequest): Promise<HttpAnswer> {
    const dispatcher = await this.#dispatcher(url, options);
    const { method = 'GET' } = options;
    const startedAt = performance.now();
    const log = (outcome: string): void => {
      const ms = Math.round(performance.now() - startedAt);
      this.#options.onExchange?.(redact(`${method} ${url.href} -> ${outcome} (${ms} ms)`));
    };
    try {
      const sent = dispatcher.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: options.headers ?? {},
        body: options.body ?? null,
        signal: options.signal,
        headersTimeout: options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS,
        bodyTimeout: this.#options.stallTimeoutMs ?? options.stallTimeoutMs ?? STALL_TIMEOUT_MS,
      });
      // undici hears of an abort only once it is connected, which a host that does not answer delays.
      const answer = await orAborted(sent, options.signal);
      log(String(answer.statusCode));
      return answer;
    } catch (error) {
      options.signal.throwIfAborted();
      const failure = networkError(url, error, options.registry, proxyFor(url, this.#options.env));
      log(failure.message);
      throw failure;
    }
  }

  /**
   * The connections to one origin, made once.
   * @throws QuayctlError `credentials` for unreadable certificates, `usage` for a proxy that is no URL
   */
  async #dispatcher(url: URL, { denyLocal: isRemote = false, registry }: HttpRequest): Promise<Dispatcher> {
    if (isRemote) refuseLocal(url);
    const registryHost = registry ?? url.host;
    const isSystemTrusted = this.#systemTrusted.has(url.origin);
    const key = `${url.origin} ${isRemote} ${isSystemTrusted} ${url.protocol === 'https:' ? registryHost : ''}`;
    let dispatcher = this.#dispatchers.get(key);
    if (dispatcher === undefined) {
      const onConnection = (socket: Socket): void => {
        const isHere = isLocalAddress(socket.remoteAddress ?? '');
        this.#endsHere.set(url.origin, isHere && this.#endsHere.get(url.origin) !== false);
        if (socket instanceof TLSSocket) this.#tlsSockets.set(url.origin, socket);
      };
      const about = { isRemote, registry: registryHost, isSystemTrusted, onConnection };
      dispatcher = openDispatcher(url, this.#options, about);
      this.#dispatchers.set(key, dispatcher);
    }
    return dispatcher;
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#dispatchers.values());
    this.#dispatchers.clear();
    await Promise.all(
      opened.map(async (entry) => {
        if (entry.status === 'fulfilled') await entry.value.destroy();
      }),
    );
  }
}

interface DispatcherOptions {
  /** A host elsewhere has named this place. */
  readonly isRemote: boolean;
  readonly registry: string;
  readonly isSystemTrusted: boolean;
  /** Told of every connection, but of a proxy's. */
  readonly onConnection: (socket: Socket) => void;
}

async function openDispatcher(
  url: URL,
  { env, certsDirectory, lookup }: HttpOptions,
  { isRemote, registry, isSystemTrusted, onConnection }: DispatcherOptions,
): Promise<Dispatcher> {
  const places = { certsDirectory, env, isSystemTrusted };
  const isTls = url.protocol === 'https:';
  const secureContext = isTls ? await hostCertificates(places, [url.host, registry]) : undefined;
  const tls = secureContext === undefined ? {} : { secureContext };
  const proxy = proxyFor(url, env);
  const connect = { timeout: CONNECT_TIMEOUT_MS, allowH2: false, ...tls, ...resolving(lookup, isRemote) };
  // Ranges in flight share one window and one parser in HTTP/2; several connections carry more at less work.
  const options = { allowH2: false, keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: MAX_HEADER_BYTES };
  if (proxy === undefined) return new Agent({ ...options, connect: watching(connect, onConnection) });
  return new ProxyAgent({
    ...options,
    connect,
    uri: proxy.href,
    proxyTls: { timeout: CONNECT_TIMEOUT_MS },
    requestTls: { timeout: CONNECT_TIMEOUT_MS, allowH2: false, ...tls },
  });
}

function watching(
  options: buildConnector.BuildOptions,
  onConnection: DispatcherOptions['onConnection'],
): buildConnector.connector {
  const connect = buildConnector(options);
  return (place, done) =>
    connect(place, (...result: buildConnector.CallbackArgs) => {
      const [, socket] = result;
      // undici leaves the socket out where there is an error, whatever its types say.
      if (socket instanceof Socket) onConnection(socket);
      done(...result);
    });
}

/** Nothing where the system's own way will do. */
function resolving(lookup: Lookup | undefined, isRemote: boolean): { lookup?: LookupFunction } {
  if (lookup === undefined && !isRemote) return {};
  const given = lookup ?? lookupBySystem;
  const resolve = isRemote ? denyLocal(given) : given;
  return {
    lookup: (hostname, { all = false }, done) => {
      resolve(hostname).then(
        (found) => {
          const [first] = found;
          if (all) done(null, [...found]);
          else
            done(first === undefined ? new Error('no address') : null, first?.address ?? '', first?.family);
        },
        (error: Error) => done(error, ''),
      );
    },
  };
}

export interface BodyBound {
  readonly maxBytes: number;
  /** Of the request, for errors. */
  readonly url: URL;
  /** For errors: `its token answer`. */
  readonly what: string;
  readonly signal: AbortSignal;
}

/**
 * A whole body in memory, bounded, its Content-Encoding undone: JSON that never ends is cut off.
 * @throws QuayctlError `limit` past `maxBytes`, `unreachable` when it breaks off or comes too slowly; the signal's reason
 */
export async function readBody(
  answer: HttpAnswer,
  { maxBytes, url, what, signal }: BodyBound,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of withMinimumRate(answer.body as AsyncIterable<Buffer>, url)) {
      length += chunk.length;
      if (length > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw networkError(url, error);
  }
  if (length > maxBytes) {
    throw new QuayctlError('limit', `${url.host}: ${what} is larger than ${maxBytes} bytes`);
  }
  const coding = codingOf(headerOf(answer, 'content-encoding'));
  const bytes = Buffer.concat(chunks, length);
  const decoded = coding === undefined ? bytes : await decodeBody(bytes, coding, maxBytes);
  if (decoded === undefined) {
    throw new QuayctlError('limit', `${url.host}: ${what} is larger than ${maxBytes} bytes`);
  }
  return decoded;
}

/** Some words of JSON or HTML; more is not worth a connection. */
const MAX_DUMPED_BYTES = 64 * 1024;
const MAX_DUMP_MS = 2_000;

/** Reads a short body and throws it away, so that its connection can be used again. */
export async function dumpBody(answer: HttpAnswer): Promise<void> {
  const { body } = answer;
  if (body.dump === undefined) return dropBody(answer);
  const signal = AbortSignal.timeout(MAX_DUMP_MS);
  await body.dump({ limit: MAX_DUMPED_BYTES, signal }).catch(() => undefined);
}

/** Ends a body that is not wanted and may be long; its connection goes with it. */
export function dropBody(answer: Pick<HttpAnswer, 'body'>): void {
  // A body that is not read to its end says so by an error.
  answer.body.on('error', () => undefined);
  answer.body.destroy();
}

/** The value of a header that has one value; of a field that proxies have added a second time, the first. */
export function headerOf(answer: Pick<HttpAnswer, 'headers'>, name: string): string | undefined {
  const value = answer.headers[name];
  return typeof value === 'string' ? value : value?.[0];
}
