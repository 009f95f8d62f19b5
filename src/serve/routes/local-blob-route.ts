import { Readable } from 'node:stream';
import { isQuayctlError } from '../../base/errors.ts';
import { resource, type BlobName } from '../../http-server/path.ts';
import type { RequestContext, Route } from '../../http-server/request-context.ts';
import { sendFile } from '../../http-server/send-file.ts';
import type { BlobCache } from '../cache/blob-cache.ts';
import type { LocalBlob } from '../cache/blob-pass.ts';
import type { ServeListener } from '../events.ts';
import type { Permission } from '../../upstream/permission.ts';
import type { Hashing } from '../torrents/hashing.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';

/** Read ahead of what the client has taken, bytes. */
const READ_AHEAD_BYTES = 256 * 1024;
/** A reading that waits for its turn is waited for so long; then the upstream is asked. Milliseconds. */
const LONGEST_WAIT_MS = 20_000;

export interface LocalBlobOptions {
  readonly cache: BlobCache;
  readonly hashing: Pick<Hashing, 'follow' | 'isRunning'>;
  readonly permission: Permission;
  readonly listener: ServeListener;
}

/**
 * Blobs under `/v2/` that the service has on its disk, or is reading at this moment: they are given to whom the upstream
 * grants them, and the upstream is not asked for their bytes again.
 * @param next answers everything else
 */
export function localBlobRoute(options: LocalBlobOptions, names: UpstreamNames, next: Route): Route {
  return async (exchange) => {
    const wanted = exchange.method === 'GET' ? resource(exchange.components.slice(1)) : undefined;
    // A credential for another registry must not reach this upstream.
    if (wanted?.kind !== 'blob' || !names.meansUpstream(exchange)) return next(exchange);
    const isSent = await sendLocalBlob(options, exchange, wanted, exchange.request.headers.authorization);
    if (!isSent) await next(exchange);
  };
}

/**
 * Answers with a blob that is here, or is being read, if the upstream grants it.
 * @returns false where nothing has been answered
 */
export async function sendLocalBlob(
  { cache, hashing, permission, listener }: LocalBlobOptions,
  exchange: RequestContext,
  { repository, digest }: BlobName,
  authorization: string | undefined,
): Promise<boolean> {
  if (!cache.has(digest) && !hashing.isRunning(digest)) return false;
  // Before anything else: who may not have the blob learns nothing here, and hurries nothing.
  const size = await grantedSize(permission, { repository, digest }, authorization, exchange.signal);
  if (size === undefined) return false;
  const send = (blob: LocalBlob): Promise<void> =>
    sendFile(exchange, served(blob, digest), {
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
    });
  const pass = cache.has(digest) ? undefined : await followed(hashing, exchange, digest);
  try {
    const blob = pass?.blob ?? (await cache.find(digest));
    // Another size is other content.
    if (blob?.length !== size) return false;
    listener({ kind: 'blob-given', from: pass === undefined ? 'cache' : 'reading' });
    await send(blob);
    return true;
  } finally {
    await pass?.leave();
  }
}

/** @returns undefined where the upstream refuses, or cannot say: then its answer is the caller's */
async function grantedSize(
  permission: Permission,
  blob: BlobName,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    const verdict = await permission.mayRead(blob, authorization, signal);
    return verdict.kind === 'granted' ? verdict.size : undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (isQuayctlError(error)) return undefined;
    throw error;
  }
}

async function followed(
  hashing: LocalBlobOptions['hashing'],
  exchange: RequestContext,
  digest: BlobName['digest'],
): ReturnType<Hashing['follow']> {
  const patience = AbortSignal.timeout(LONGEST_WAIT_MS);
  try {
    return await hashing.follow(digest, AbortSignal.any([exchange.signal, patience]));
  } catch (error) {
    exchange.signal.throwIfAborted();
    if (patience.aborted || isQuayctlError(error)) return undefined;
    throw error;
  }
}

function served(blob: LocalBlob, digest: string): Parameters<typeof sendFile>[1] {
  return {
    length: blob.length,
    etag: digest,
    // What a digest names has never been anything else.
    modified: new Date(0),
    read: (start, end) =>
      Readable.from(blob.read(start, end), { objectMode: false, highWaterMark: READ_AHEAD_BYTES }),
  };
}
