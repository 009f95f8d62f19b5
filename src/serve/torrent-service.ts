import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/http.ts';
import { listen } from './http/server.ts';
import { router } from './http/router.ts';
import type { Route } from './http/exchange.ts';
import {
  announceUrl,
  publicUrl,
  secretFile,
  tokenTtlSeconds,
  upstreamPlace,
  usage,
  type TorrentServiceOptions,
} from './options.ts';
import { namesOf } from './names.ts';
import { healthRoute, readyRoute } from './routes/health-routes.ts';
import { registryRoute } from './routes/registry-route.ts';
import { torrentRoute } from './routes/torrent-route.ts';
import { webSeedRoute } from './routes/web-seed-route.ts';
import { Hashing } from './torrents/hashing.ts';
import { HashStore } from './torrents/hash-store.ts';
import { loadSecret } from './torrents/secret.ts';
import { TorrentMaker } from './torrents/torrent-maker.ts';
import { webSeedUrl } from './torrents/web-seed-url.ts';
import { Tracker } from './tracker/tracker.ts';
import { LayoutUpstream } from './upstream/layout-upstream.ts';
import { RegistryUpstream } from './upstream/registry-upstream.ts';
import { discard, type BlobName, type Upstream } from './upstream/upstream.ts';

export type { TorrentServiceOptions } from './options.ts';
export type { ServeEvent } from './events.ts';

/** A registry that does not answer by then does not keep the service from starting on loopback. */
const START_TIMEOUT_MS = 10_000;

/** A running `quayctl serve`. */
export interface TorrentService {
  /** Where it listens: `http://127.0.0.1:7070`. */
  readonly url: string;
  /** Goes into torrents. */
  readonly publicUrl: string;
  /** Finishes answers under way, then stops. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts the torrent service.
 * @throws QuayctlError `usage` for options that do not fit each other; `port` where it cannot listen; `store` where
 *   the data directory or the secret cannot be used; `unreachable` for a layout that cannot be read, or, when other
 *   hosts shall reach the service, for a registry that does not answer
 */
export async function startTorrentService(options: TorrentServiceOptions): Promise<TorrentService> {
  const { listener, signal } = options;
  signal?.throwIfAborted();
  const given = { publicUrl: publicUrl(options), announce: announceUrl(options) };
  const upstream = openUpstream(options);
  const closing = new AbortController();
  await checkUpstream(options, upstream);
  const secret = await loadSecret(secretFile(options));
  const store = new HashStore(options.dataDirectory);
  const torrents = new TorrentMaker(secret);
  const tracker = given.announce === undefined ? await openTracker(torrents, store) : undefined;
  const hashing = new Hashing({ upstream, store, listener });
  const server = await listen({ ...options.listen, tls: options.tls }, (url) => {
    const base = given.publicUrl ?? url;
    const announce = given.announce ?? `${base}/announce`;
    const seeds = { secret, publicUrl: base, ttlSeconds: tokenTtlSeconds(options) };
    const webSeed = (blob: BlobName): string => webSeedUrl(seeds, blob, Date.now());
    const isUpstream = namesOf(upstream, options.aliases ?? [], [url, base]);
    const routes: [string, Route][] = [
      ['v2', registryRoute(upstream)],
      ['c1', torrentRoute({ upstream, hashing, torrents, announce, webSeed, isUpstream })],
      ['ws', webSeedRoute({ upstream, secret, store })],
      ['healthz', healthRoute],
      ['readyz', readyRoute(upstream)],
    ];
    if (tracker !== undefined)
      routes.push(['announce', tracker.announceRoute], ['scrape', tracker.scrapeRoute]);
    return router({ routes: new Map(routes), listener, closing: closing.signal });
  });
  listener({ kind: 'listening', url: server.url, upstream: options.upstream });

  let closed: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    closing.abort();
    await server.close();
    hashing.close();
    tracker?.close();
    listener({ kind: 'stopped' });
  };
  const close = (): Promise<void> => (closed ??= stop());
  signal?.addEventListener('abort', () => void close(), { once: true });
  return { url: server.url, publicUrl: given.publicUrl ?? server.url, close };
}

function openUpstream(options: TorrentServiceOptions): Upstream {
  const place = upstreamPlace(options);
  if (place.kind === 'registry') return new RegistryUpstream(place.origin, options.http);
  return new LayoutUpstream(place.directory, (message) => options.listener({ kind: 'warning', message }));
}

/**
 * Until the service can tell callers apart for longer than one request, nobody else may reach it where a registry
 * gives nothing to strangers. A registry whose token server gives anonymous tokens answers 401 as well, and counts.
 */
async function checkUpstream(options: TorrentServiceOptions, upstream: Upstream): Promise<void> {
  const { host } = options.listen;
  const isOpen = !isLoopback(host);
  const status = await statusOfBase(upstream).catch((error: unknown) => {
    const failure = asUnreachable(options.upstream, error);
    if (isOpen || upstream instanceof LayoutUpstream) throw failure;
    options.listener({ kind: 'warning', message: failure.message });
  });
  if (status === 401 && isOpen) {
    throw usage(
      `--listen ${host}: the registry ${options.upstream} wants credentials; in front of such a one the service listens on loopback only`,
      'use --listen 127.0.0.1:PORT; a registry that gives anonymous tokens counts as wanting credentials, too',
    );
  }
  if (status === undefined || status === 200 || status === 401) return;
  throw new QuayctlError('protocol', `${options.upstream}: status ${status} for /v2/, so it is no registry`);
}

async function statusOfBase(upstream: Upstream): Promise<number> {
  const signal = AbortSignal.timeout(START_TIMEOUT_MS);
  const answer = await upstream.ask({ method: 'GET', resource: { kind: 'base' } }, signal);
  discard(answer);
  return answer.status;
}

function asUnreachable(upstream: string, error: unknown): QuayctlError {
  if (isQuayctlError(error)) return error;
  return new QuayctlError('unreachable', `${upstream} does not answer`, { cause: error });
}

async function openTracker(torrents: TorrentMaker, store: HashStore): Promise<Tracker> {
  // Swarms outlive the process: peers of torrents made before a restart come back after it.
  await torrents.recall(store);
  return new Tracker({ knows: (infoHash) => torrents.knows(infoHash) });
}
