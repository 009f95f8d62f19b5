import { setTimeout as delay } from 'node:timers/promises';
import { isQuayctlError } from '../../base/errors.ts';
import type { Digest } from '../../image/digest.ts';
import type { InfoHash } from '../../metainfo/info-hash.ts';
import { refuse, send, sendJson, type Exchange, type Route } from '../http/exchange.ts';
import { blobName } from '../http/path.ts';
import type { Permission } from '../permission.ts';
import type { AnnounceTokens } from '../tokens/announce-tokens.ts';
import type { PieceHashes } from '../torrents/hash-store.ts';
import type { Hashing, RunningPass } from '../torrents/hashing.ts';
import type { Secret } from '../torrents/secret.ts';
import { makeTorrent } from '../torrents/torrent-maker.ts';
import type { BlobName } from '../upstream/upstream.ts';

/** The longest that an answer is held back, seconds (protocol.md). */
const MAX_WAIT_SECONDS = 60;
/** A small blob is hashed before its 202 could be read. */
const SHORTEST_WAIT_SECONDS = 0.25;
const NOT_STORED = { 'cache-control': 'private, no-store' };

export interface TorrentRouteOptions {
  /** What callers may read. */
  readonly permission: Permission;
  /** What the service itself may read. */
  readonly own: Permission;
  readonly hashing: Hashing;
  readonly secret: Secret;
  readonly tokens: AnnounceTokens;
  /** The signed URL of a blob that the service can read by itself. */
  readonly webSeed: (blob: BlobName) => string;
  /** True for a name by which callers may mean this upstream. */
  readonly isUpstream: (host: string, exchange: Exchange) => boolean;
}

/** `/c1/torrent/REPO/blobs/DIGEST?ns=HOST[&wait=SECONDS]` */
export function torrentRoute(options: TorrentRouteOptions): Route {
  return async (exchange: Exchange): Promise<void> => {
    const { components, query } = exchange;
    const blob = components[1] === 'torrent' ? blobName(components.slice(2)) : undefined;
    if (blob === undefined)
      return refuse(exchange, 404, 'UNSUPPORTED', 'no such path under /c1/', NOT_STORED);
    // Before Authorization is read: a credential for another registry must not reach this upstream.
    const [ns, ...more] = query.getAll('ns');
    if (ns === undefined || more.length > 0 || !options.isUpstream(ns, exchange)) {
      const reason =
        ns === undefined
          ? 'the registry is not named: ?ns=HOST'
          : 'this service stands in front of another registry (serve --alias HOST adds a name)';
      return refuse(exchange, 404, 'NAME_UNKNOWN', reason, NOT_STORED);
    }
    await answer(options, exchange, blob);
  };
}

async function answer(options: TorrentRouteOptions, exchange: Exchange, blob: BlobName): Promise<void> {
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
  const found = await hashing.hashes(blob, verdict.size, authorization);
  const hashes = 'done' in found ? await waitFor(found, exchange) : found;
  if (hashes === undefined) return sendProgress(exchange, found as RunningPass);

  const webSeeds = (await isReadable(options.own, blob, signal)) ? [options.webSeed(blob)] : [];
  const announce = (infoHash: InfoHash): Promise<string> => tokens.announceUrl(infoHash, authorization);
  sendTorrent(exchange, blob.digest, await makeTorrent(secret, hashes, { announce, webSeeds }));
}

/** The hashes, or undefined when the client's patience, or the service's life, ends first. */
async function waitFor({ done }: RunningPass, exchange: Exchange): Promise<PieceHashes | undefined> {
  const asked = Number(exchange.query.get('wait') ?? 0);
  const seconds = Math.min(
    MAX_WAIT_SECONDS,
    Math.max(SHORTEST_WAIT_SECONDS, Number.isFinite(asked) ? asked : 0),
  );
  const enough = new AbortController();
  const end = AbortSignal.any([exchange.signal, exchange.closing, enough.signal]);
  try {
    // An abort, too, is an end of waiting.
    const patience = delay(seconds * 1000, undefined, { signal: end }).catch(() => undefined);
    return await Promise.race([done, patience]);
  } finally {
    enough.abort();
  }
}

function sendProgress(exchange: Exchange, running: RunningPass): void {
  const { pass } = running;
  const etaSeconds = Math.round(running.etaSeconds() * 10) / 10;
  const headers = { ...NOT_STORED, 'retry-after': '1' };
  sendJson(exchange, 202, { size: pass.size, hashed: pass.hashed, etaSeconds }, headers);
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

function sendTorrent(exchange: Exchange, digest: Digest, torrent: Uint8Array): void {
  const headers = {
    ...NOT_STORED,
    'content-type': 'application/x-bittorrent',
    'content-disposition': `attachment; filename="${digest.replace(':', '-')}.torrent"`,
  };
  send(exchange, 200, headers, torrent);
}
