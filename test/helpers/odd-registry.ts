// A stand-in for registries of many makers: none that can be installed gives all these answers.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { digestOf, type OddImage } from './odd-images.ts';
import type { TestCertificate } from './certificate.ts';
import type { Scope } from './processes.ts';

/** What a request is for; `other` is everything outside of the distribution API, storage for instance. */
type Kind = 'ping' | 'token' | 'manifest' | 'blob' | 'other';

export interface OddRequest {
  readonly method: string;
  /** Path and query, as they came. */
  readonly target: string;
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingMessage['headers'];
  readonly kind: Kind;
  readonly repository: string;
  /** Tag or digest. */
  readonly reference: string;
  readonly body: string;
}

/**
 * An answer that oddities change before it is sent. Header fields are a list, so that one may stand twice. `framing`
 * says how the body's end is told: Content-Length, chunked, or the end of the connection; `cut` ends the connection
 * after so many bytes of the body.
 */
export class OddReply {
  status: number;
  fields: [name: string, value: string][];
  body: Buffer;
  framing: 'length' | 'chunked' | 'close' = 'length';
  cut: number | undefined;
  /** Waits before the byte at `at` for so long. */
  stalls: readonly { readonly at: number; readonly ms: number }[] = [];

  constructor(status = 200, fields: Readonly<Record<string, string>> = {}, body: Buffer | string = '') {
    this.status = status;
    this.fields = Object.entries(fields);
    this.body = Buffer.from(body as Buffer);
  }

  get(name: string): string | undefined {
    return this.fields.find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1];
  }

  /** Replaces every field of that name; undefined takes them away. */
  set(name: string, value: string | undefined): this {
    this.fields = this.fields.filter(([known]) => known.toLowerCase() !== name.toLowerCase());
    return value === undefined ? this : this.add(name, value);
  }

  add(name: string, value: string): this {
    this.fields.push([name, value]);
    return this;
  }
}

type Oddity = (
  request: OddRequest,
  reply: OddReply,
  registry: OddRegistry,
) => OddReply | undefined | void | Promise<OddReply | undefined | void>;

export interface OddRegistryOptions {
  /** Default: everybody may pull. The user is `u`, the password `p`. */
  readonly auth?: 'basic' | 'bearer';
  /** Whether the token server gives tokens to those without a name. */
  readonly anonymousTokens?: boolean;
  readonly tls?: TestCertificate;
  readonly address?: string;
  readonly port?: number;
  /** Answers in place of the registry. */
  readonly before?: (
    request: OddRequest,
    registry: OddRegistry,
  ) => OddReply | undefined | Promise<OddReply | undefined>;
  /** Each changes the right reply to a request of its kind, or gives another one. */
  readonly ping?: Oddity;
  readonly token?: Oddity;
  readonly manifest?: Oddity;
  readonly blob?: Oddity;
  /** After those: whatever the kind. */
  readonly all?: Oddity;
  readonly challenge?: (request: OddRequest, registry: OddRegistry) => string;
  /** Whether storage gives parts of blobs; default true. */
  readonly ranges?: boolean;
}

export interface OddRegistry {
  /** `ADDRESS:PORT`, as in an image reference. */
  readonly host: string;
  readonly url: string;
  readonly port: number;
  readonly requests: readonly OddRequest[];
  readonly blobs: Map<string, Buffer>;
  /** Tokens that it takes; those it gave are among them. */
  readonly tokens: Set<string>;
  /** Gives the reference by which the image is pulled. */
  put(repository: string, tag: string, image: OddImage): string;
  /** Any document under a tag or digest, and under its own digest. */
  putDocument(repository: string, reference: string, body: Buffer | string, mediaType: string): string;
  /** The right answer for a blob, with parts where they are asked for. */
  blobReply(request: OddRequest, blob: Buffer): OddReply;
}

export const USER = 'u';
export const PASSWORD = 'p';
const BASIC = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`;

export async function startOddRegistry(scope: Scope, options: OddRegistryOptions = {}): Promise<OddRegistry> {
  const { address = '127.0.0.1', port = 0, tls } = options;
  const documents = new Map<string, { readonly body: Buffer; readonly mediaType: string }>();
  const repositories = new Set<string>();
  const requests: OddRequest[] = [];

  const listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    answer(incoming, response).catch(() => response.destroy());
  };
  const server =
    tls === undefined
      ? createServer(listener)
      : createTlsServer({ cert: tls.certificatePem, key: tls.keyPem }, listener);
  server.listen(port, address);
  await once(server, 'listening');
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const bound = (server.address() as AddressInfo).port;
  const host = address.includes(':') ? `[${address}]:${bound}` : `${address}:${bound}`;

  const registry: OddRegistry = {
    host,
    url: `${tls === undefined ? 'http' : 'https'}://${host}`,
    port: bound,
    requests,
    blobs: new Map(),
    tokens: new Set(),
    put(repository, tag, image) {
      registry.putDocument(repository, tag, image.manifest, image.mediaType);
      for (const [digest, blob] of image.blobs) registry.blobs.set(digest, blob);
      return `${host}/${repository}:${tag}`;
    },
    putDocument(repository, reference, body, mediaType) {
      const document = { body: Buffer.from(body as Buffer), mediaType };
      repositories.add(repository);
      documents.set(`${repository} ${reference}`, document);
      documents.set(`${repository} ${digestOf(document.body)}`, document);
      return `${host}/${repository}:${reference}`;
    },
    blobReply(request, blob) {
      const reply = new OddReply(
        200,
        { 'Content-Type': 'application/octet-stream', 'Accept-Ranges': 'bytes' },
        blob,
      );
      const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
      if (from === undefined || options.ranges === false) return reply;
      const [first, last] = [
        Number(from),
        Math.min(blob.length - 1, to === '' || to === undefined ? Infinity : Number(to)),
      ];
      reply.status = 206;
      reply.body = blob.subarray(first, last + 1);
      return reply.set('Content-Range', `bytes ${first}-${last}/${blob.length}`);
    },
  };

  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = await parse(incoming);
    requests.push(request);
    let reply = await options.before?.(request, registry);
    if (reply === undefined) {
      reply = usual(request);
      if (request.kind !== 'other')
        reply = (await options[request.kind]?.(request, reply, registry)) ?? reply;
      reply = (await options.all?.(request, reply, registry)) ?? reply;
    }
    await send(request, response, reply);
  };

  const isAuthorized = ({ headers: { authorization = '' } }: OddRequest): boolean => {
    if (options.auth === undefined) return true;
    if (options.auth === 'basic') return authorization === BASIC;
    return authorization.startsWith('Bearer ') && registry.tokens.has(authorization.slice('Bearer '.length));
  };

  const challenge = (request: OddRequest): string => {
    if (options.challenge !== undefined) return options.challenge(request, registry);
    if (options.auth === 'basic') return 'Basic realm="r"';
    const scoped = request.repository === '' ? '' : `,scope="repository:${request.repository}:pull"`;
    return `Bearer realm="${registry.url}/token",service="svc"${scoped}`;
  };

  const usual = (request: OddRequest): OddReply => {
    const { kind, headers, repository, reference } = request;
    if (kind === 'token') {
      const { authorization } = headers;
      const isKnown =
        authorization === undefined
          ? request.method === 'POST' || options.anonymousTokens === true
          : authorization === BASIC;
      return isKnown ? tokenReply(registry) : refusal(401, 'UNAUTHORIZED');
    }
    if (kind === 'other') return refusal(404, 'NOT_FOUND');
    if (!isAuthorized(request))
      return refusal(401, 'UNAUTHORIZED').set('WWW-Authenticate', challenge(request));
    if (kind === 'ping') return new OddReply(200, { 'Content-Type': 'application/json' }, '{}');
    if (kind === 'manifest') {
      const document = documents.get(`${repository} ${reference}`);
      if (document === undefined) return refusal(404, 'MANIFEST_UNKNOWN');
      const fields = {
        'Content-Type': document.mediaType,
        'Docker-Content-Digest': digestOf(document.body),
      };
      return new OddReply(200, fields, document.body);
    }
    const blob = registry.blobs.get(reference);
    if (blob === undefined || !repositories.has(repository)) return refusal(404, 'BLOB_UNKNOWN');
    return registry.blobReply(request, blob);
  };

  return registry;
}

/** A refusal in the form of the OCI distribution specification. */
export function refusal(status: number, code: string): OddReply {
  const body = JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] });
  return new OddReply(status, { 'Content-Type': 'application/json' }, body);
}

/** A token of its own making that the registry takes from then on. */
export function tokenReply(
  registry: Pick<OddRegistry, 'tokens'>,
  answer: (token: string) => unknown = (token) => ({ token, expires_in: 300 }),
): OddReply {
  const token = `tok${randomBytes(8).toString('hex')}`;
  registry.tokens.add(token);
  return new OddReply(200, { 'Content-Type': 'application/json' }, JSON.stringify(answer(token)));
}

async function parse(incoming: IncomingMessage): Promise<OddRequest> {
  const target = incoming.url ?? '/';
  const [path = '', query = ''] = target.split(/\?(.*)/s);
  const [, repository = '', what, reference = ''] =
    /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(path) ?? [];
  const kind: Kind =
    path === '/v2/' || path === '/v2'
      ? 'ping'
      : path.endsWith('/token')
        ? 'token'
        : what === 'manifests'
          ? 'manifest'
          : what === 'blobs'
            ? 'blob'
            : 'other';
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString();
  const { method = 'GET', headers } = incoming;
  return { method, target, path, query, headers, kind, repository, reference, body };
}

async function send(request: OddRequest, response: ServerResponse, reply: OddReply): Promise<void> {
  const { status, body, framing, cut, stalls } = reply;
  const fields = [...reply.fields];
  response.sendDate = false;
  if (framing === 'length' && reply.get('Content-Length') === undefined && status !== 304)
    fields.push(['Content-Length', String(body.length)]);
  if (framing === 'chunked') fields.push(['Transfer-Encoding', 'chunked']);
  if (framing === 'close') {
    response.removeHeader('Transfer-Encoding'); // Node then tells the end by closing
    response.shouldKeepAlive = false;
  }
  response.writeHead(status, fields.flat());
  if (request.method === 'HEAD') return void response.end();
  let sent = 0;
  for (const { at, ms } of stalls) {
    response.write(body.subarray(sent, at));
    sent = at;
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
  if (cut === undefined) return void response.end(body.subarray(sent));
  response.write(body.subarray(sent, cut), () => response.destroy());
}
