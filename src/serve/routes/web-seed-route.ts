import type { DerivedImages } from '../derived/derived-images.ts';
import { contentRange, wantedRange } from '../../http-server/range.ts';
import {
  passThrough,
  refuse,
  send,
  type RequestContext,
  type Route,
} from '../../http-server/request-context.ts';
import { sendLocalBlob, type LocalBlobOptions } from './local-blob-route.ts';
import { blobName } from '../../http-server/path.ts';
import { sendFile } from '../../http-server/send-file.ts';
import type { Permission } from '../../upstream/permission.ts';
import type { HashStore } from '../torrents/hash-store.ts';
import type { Secret } from '../torrents/secret.ts';
import { isSigned } from '../torrents/web-seed-url.ts';
import { isRedirect } from '../../http/redirect.ts';
import { discard, headerOf, isSuccess, type Upstream } from '../../upstream/upstream.ts';
import type { BlobName } from '../../http-server/path.ts';

export interface WebSeedRouteOptions {
  /** As the service itself may read it. */
  readonly own: Upstream;
  readonly permission: Permission;
  readonly secret: Secret;
  readonly store: HashStore;
  /** Blobs that are here, for the service itself: what it may not read is no web seed. */
  readonly local: LocalBlobOptions;
  /** Squashed images and ACIs, which no registry has. */
  readonly derived: Pick<DerivedImages, 'find'>;
}

const OCTETS = { 'content-type': 'application/octet-stream' };

/** `/ws/REPO/blobs/DIGEST?expires=...&signature=...`: one blob for a client that knows nothing but its .torrent. */
export function webSeedRoute(options: WebSeedRouteOptions): Route {
  return async (exchange: RequestContext): Promise<void> => {
    const blob = blobName(exchange.components.slice(1));
    if (blob === undefined) return refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /ws/');
    if (!isSigned(options.secret, blob, exchange.query, Date.now())) {
      return refuse(
        exchange,
        403,
        'DENIED',
        'not signed by this service, or expired: ask for the torrent again',
      );
    }
    const derived = await options.derived.find(blob.digest);
    if (derived !== undefined) return sendFile(exchange, derived, OCTETS);
    if (exchange.method === 'GET' && (await sendLocalBlob(options.local, exchange, blob, undefined))) return;
    const length = await lengthOf(options, blob, exchange.signal);
    if (length === undefined)
      return refuse(exchange, 404, 'BLOB_UNKNOWN', 'the registry has no such blob for us');
    await answer(options.own, exchange, blob, length);
  };
}

/** A replica that has not hashed the blob itself asks the upstream. */
async function lengthOf(
  { store, permission }: WebSeedRouteOptions,
  blob: BlobName,
  signal: AbortSignal,
): Promise<number | undefined> {
  const hashes = await store.load(blob.digest);
  if (hashes !== undefined) return hashes.length;
  const verdict = await permission.mayRead(blob, undefined, signal);
  return verdict.kind === 'granted' ? verdict.size : undefined;
}

async function answer(
  upstream: Upstream,
  exchange: RequestContext,
  blob: BlobName,
  length: number,
): Promise<void> {
  const { request, method, signal } = exchange;
  const etag = `"${blob.digest}"`;
  const about = { etag, 'accept-ranges': 'bytes', 'cache-control': 'private, no-store' };
  if (request.headers['if-none-match'] === etag) return notModified(exchange, about);
  const ifRange = request.headers['if-range'];
  const wanted = wantedRange(
    ifRange === undefined || ifRange === etag ? request.headers.range : undefined,
    length,
  );
  if (wanted.kind === 'unsatisfiable') {
    return send(exchange, 416, { ...about, 'content-range': `bytes */${length}` });
  }
  if (method === 'HEAD') return head(exchange, about, length);

  const range = wanted.kind === 'part' ? `bytes=${wanted.start}-${wanted.end - 1}` : undefined;
  const got = await upstream.ask({ method: 'GET', resource: { kind: 'blob', ...blob }, range }, signal);
  if (isRedirect(got.status))
    return passThrough(exchange, got, { ...about, 'referrer-policy': 'no-referrer' });
  const whole = wanted.kind === 'part' ? contentRange(wanted, length) : undefined;
  // Of a status that was not asked for, or another part than was asked for, not a byte is handed on.
  const asWanted =
    wanted.kind === 'part' ? got.status === 206 && headerOf(got, 'content-range') === whole : true;
  if (!isSuccess(got.status) || !(asWanted || got.status === 200)) {
    discard(got);
    return refuse(exchange, 502, 'UNAVAILABLE', `the registry answers ${got.status} for this blob`, about);
  }
  await passThrough(exchange, got, about);
}

function notModified({ response }: RequestContext, headers: Readonly<Record<string, string>>): void {
  response.writeHead(304, headers).end();
}

function head({ response }: RequestContext, headers: Readonly<Record<string, string>>, length: number): void {
  response
    .writeHead(200, { ...headers, 'content-type': 'application/octet-stream', 'content-length': length })
    .end();
}
