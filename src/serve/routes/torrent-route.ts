import { isQuayctlError } from '../../base/errors.ts';
import type { InfoHash } from '../../metainfo/info-hash.ts';
import type { PeerRule } from '../../metainfo/metainfo.ts';
import { admitsKey, keyThumbprintOf } from './node-key.ts';
import { refuse, type RequestContext, type Route } from '../../http-server/request-context.ts';
import { blobName } from '../../http-server/path.ts';
import type { BlobCache } from '../cache/blob-cache.ts';
import { claimantsOf } from '../claimants.ts';
import type { Permission } from '../../upstream/permission.ts';
import type { UpstreamNames } from '../upstream-hosts.ts';
import type { AnnounceTokens } from '../tokens/announce-tokens.ts';
import type { PieceHashes } from '../torrents/hash-store.ts';
import type { Job } from '../jobs.ts';
import { progressOf, waitForJob } from './derived-answer.ts';
import type { Hashing } from '../torrents/hashing.ts';
import type { Secret } from '../torrents/secret.ts';
import { makeTorrent } from '../torrents/torrent-maker.ts';
import type { BlobName } from '../../http-server/path.ts';
import { admitsNamespace, refuseUnknownPath, sendTorrent, type OnTorrent } from './quay-api.ts';
import { NOT_STORED, sendProgress, waitFor } from './waiting.ts';

export interface TorrentRouteOptions {
  /** What callers may read. */
  readonly permission: Permission;
  /** What the service itself may read. */
  readonly own: Permission;
  readonly hashing: Hashing;
  readonly cache: Pick<BlobCache, 'has'>;
  readonly secret: Secret;
  readonly tokens: AnnounceTokens;
  /** The signed URL of a blob that the service can read by itself. */
  readonly webSeed: (blob: BlobName) => string;
  /** The rule for peers of a swarm; undefined: every peer with a token. */
  readonly peers: PeerRule | undefined;
  /** Told of each torrent that is given out. */
  readonly onTorrent: OnTorrent;
  /** By which callers may mean this upstream. */
  readonly names: UpstreamNames;
}

/** `/c1/torrent/REPO/blobs/DIGEST?ns=HOST[&wait=SECONDS]` */
export function torrentRoute(options: TorrentRouteOptions): Route {
  return async (exchange: RequestContext): Promise<void> => {
    const blob = blobName(exchange.components.slice(2));
    if (blob === undefined) return refuseUnknownPath(exchange);
    if (!exchange.query.has('ns')) {
      return refuse(exchange, 404, 'NAME_UNKNOWN', 'the registry is not named: ?ns=HOST', NOT_STORED);
    }
    if (!admitsKey(exchange)) return;
    if (admitsNamespace(options.names, exchange)) await answer(options, exchange, blob);
  };
}

async function answer(options: TorrentRouteOptions, exchange: RequestContext, blob: BlobName): Promise<void> {
  const { permission, hashing, secret, tokens } = options;
  const { signal } = exchange;
  const { authorization } = exchange.request.headers;
  const verdict = await permission.mayRead(blob, authorization, signal);
  if (verdict.kind === 'refused') {
    const message = `the registry answers ${verdict.status} for this blob`;
    return refuse(exchange, verdict.status, 'DENIED', message, { ...verdict.headers, ...NOT_STORED });
  }
  if (verdict.size === 0) {
    return refuse(exchange, 404, 'BLOB_UNKNOWN', 'the blob is empty: it has no torrent', NOT_STORED);
  }
  const found = await hashing.hashes(blob, verdict.size, {
    authorization,
    claimants: claimantsOf(exchange, secret),
  });
  const hashes = 'done' in found ? await waitForJob(found, exchange, waitFor) : found;
  if (hashes === undefined) {
    const follow = hashing.canBeFollowed(verdict.size);
    return sendProgress(exchange, {
      ...progressOf(found as Job<PieceHashes>),
      ...(follow ? { follow } : {}),
    });
  }
  // What the caller was given is something else: a page of a gateway, which grants nothing.
  if (hashes.length !== verdict.size) {
    const message = `the registry gives this caller ${verdict.size} bytes, the blob has ${hashes.length}`;
    return refuse(exchange, 403, 'DENIED', message, NOT_STORED);
  }

  const webSeeds = (await isReadable(options.own, blob, signal)) ? [options.webSeed(blob)] : [];
  const caller = { authorization, keyThumbprint: keyThumbprintOf(exchange) };
  const announce = (infoHash: InfoHash): Promise<string> => {
    options.onTorrent(infoHash, { ...blob, size: hashes.length, kind: 'layer' }, exchange);
    return tokens.announceUrl(infoHash, caller);
  };
  const torrent = await makeTorrent(secret, hashes, { announce, webSeeds, peers: options.peers });
  sendTorrent(exchange, blob.digest, torrent, options.cache.has(blob.digest));
}

/** A web seed is the service's own to read; where it may not, or cannot now, peers must do. */
async function isReadable(own: Permission, blob: BlobName, signal: AbortSignal): Promise<boolean> {
  try {
    return (await own.mayRead(blob, undefined, signal)).kind === 'granted';
  } catch (error) {
    signal.throwIfAborted();
    if (isQuayctlError(error)) return false;
    throw error;
  }
}
