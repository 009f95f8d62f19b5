import { readdir, readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { EnvHttpProxyAgent, request, type Dispatcher } from 'undici';
import { QuayctlError } from './errors.ts';
import { networkError } from './network-error.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** A registry may have to look a blob up in slow storage before it answers. */
const HEADERS_TIMEOUT_MS = 30_000;
/** No byte for so long: the request is given up, and resumed by whoever asked. */
export const STALL_TIMEOUT_MS = 10_000;
/** Registries send a few hundred bytes of headers, signed redirects up to some kilobytes. */
const MAX_HEADER_BYTES = 32 * 1024;
/** Idle connections are kept so long; registries close them after a minute or more. */
const KEEP_ALIVE_MS = 30_000;

export interface HttpOptions {
  /** HTTPS_PROXY, HTTP_PROXY, NO_PROXY, in either case. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Docker's `certs.d`: HOST/ca.crt, client.cert, client.key. */
  readonly certsDirectory: string;
}

export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** One answer, redirects not followed. The body must be read or dumped. */
export type HttpAnswer = Dispatcher.ResponseData;

/** The door to the network: connections, TLS and proxies of this run. Certificate checks are never turned off. */
export class Http {
  readonly #options: HttpOptions;
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  /** @throws QuayctlError `unreachable` naming host and reason; `limit` for endless headers; the signal's reason */
  async request(url: URL, options: HttpRequest): Promise<HttpAnswer> {
    const dispatcher = await this.dispatcher(url);
    try {
      return await request(url, {
        dispatcher,
        method: options.method ?? 'GET',
        headers: options.headers ?? {},
        body: options.body ?? null,
        signal: options.signal,
      });
    } catch (error) {
      options.signal.throwIfAborted();
      throw networkError(url, error);
    }
  }

  /** The connections to one host, made once. @throws QuayctlError `credentials` for unreadable certificates */
  dispatcher({ host }: URL): Promise<Dispatcher> {
    let dispatcher = this.#dispatchers.get(host);
    if (dispatcher === undefined) {
      dispatcher = openDispatcher(host, this.#options);
      this.#dispatchers.set(host, dispatcher);
    }
    return dispatcher;
  }

  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#dispatchers.values());
    this.#dispatchers.clear();
    await Promise.all(opened.map((entry) => (entry.status === 'fulfilled' ? entry.value.destroy() : undefined)));
  }
}

async function openDispatcher(host: string, { env, certsDirectory }: HttpOptions): Promise<Dispatcher> {
  const tls = await hostCertificates(join(certsDirectory, host));
  return new EnvHttpProxyAgent({
    // Empty strings keep undici from looking into the process's environment by itself.
    httpProxy: env['http_proxy'] ?? env['HTTP_PROXY'] ?? '',
    httpsProxy: env['https_proxy'] ?? env['HTTPS_PROXY'] ?? '',
    noProxy: env['no_proxy'] ?? env['NO_PROXY'] ?? '',
    connect: { timeout: CONNECT_TIMEOUT_MS, ...tls },
    requestTls: tls,
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: STALL_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  });
}

interface HostCertificates {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/** As Docker reads the folder: every *.crt is a further authority, NAME.cert with NAME.key is the client's. */
async function hostCertificates(directory: string): Promise<HostCertificates> {
  const names = await readdir(directory).catch(() => [] as string[]);
  const read = (name: string): Promise<string> =>
    readFile(join(directory, name), 'utf8').catch((cause: unknown) => {
      throw new QuayctlError('credentials', `cannot read ${join(directory, name)}`, { cause });
    });
  const authorities = await Promise.all(names.filter((name) => name.endsWith('.crt')).map(read));
  const client = names.find((name) => name.endsWith('.cert'));
  return {
    ...(authorities.length > 0 ? { ca: [...getCACertificates('default'), ...authorities] } : {}),
    ...(client === undefined
      ? {}
      : { cert: await read(client), key: await read(client.replace(/\.cert$/, '.key')) }),
  };
}

/**
 * A whole body in memory, bounded: JSON that never ends is cut off.
 * @throws QuayctlError `limit` past `maxBytes`, `unreachable` when it breaks off
 */
export async function readBody(answer: HttpAnswer, maxBytes: number, url: URL, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw networkError(url, error);
  }
  if (length > maxBytes) {
    throw new QuayctlError('limit', `${url.host}: ${what} is larger than ${maxBytes} bytes`);
  }
  return Buffer.concat(chunks, length);
}

/** Throws away a body that nobody wants, so that its connection can be used again. */
export async function dumpBody(answer: HttpAnswer): Promise<void> {
  await answer.body.dump({ limit: 64 * 1024 }).catch(() => undefined);
}

/** One value of a header, the first where it was sent twice. */
export function headerOf(answer: HttpAnswer, name: string): string | undefined {
  const value = answer.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** Loopback may be plain HTTP, as Docker has it. @param hostname without port; brackets of IPv6 allowed */
export function isLoopback(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare.endsWith('.localhost') || bare === '::1' || (isIPv4(bare) && bare.startsWith('127.'));
}
