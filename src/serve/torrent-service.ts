import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { isLoopback, isLoopbackAddress } from '../base/ip-address.ts';
import { addressRanges, clientAddresses } from '../http-server/client-address.ts';
import { listen } from '../http-server/server.ts';
import { router } from '../http-server/router.ts';
import type { Route } from '../http-server/request-context.ts';
import { Shares, type ShareLimits } from '../http-server/shares.ts';
import {
  announceUrl,
  publicUrl,
  secretFile,
  tokenTtlSeconds,
  type TorrentServiceOptions,
} from './options.ts';
import { openAdmin } from '../admin/admin-listener.ts';
import { upstreamNames } from './upstream-hosts.ts';
import type { ServeListener } from './events.ts';
import { adminPages } from '../admin/admin-pages.ts';
import { KeptAccount } from './observe/kept-account.ts';
import { Observer } from './observe/observer.ts';
import { ServiceStatus } from './observe/service-status.ts';
import { Troubles } from './observe/troubles.ts';
import { reportRoute } from './routes/report-route.ts';
import { ManifestCache } from './manifests/manifest-cache.ts';
import { Metrics } from './metrics.ts';
import { Permission } from '../upstream/permission.ts';
import { AciSigner } from './aci/signer.ts';
import { ACI_KEY_PATH, aciKeyRoute } from './routes/aci-key-route.ts';
import { aciRoute } from './routes/aci-route.ts';
import { aciDiscoveryRoute, isAciDiscovery } from './routes/aci-discovery-route.ts';
import { healthRoute, readyRoute } from './routes/health-routes.ts';
import { limitPasswordGuesses } from './routes/password-guesses.ts';
import { reachableRoute } from './routes/reachable-route.ts';
import { keySetRoute } from './routes/key-set-route.ts';
import { registryRoute } from './routes/registry-route.ts';
import { c1Route, type OnTorrent } from './routes/quay-api.ts';
import { securityRoute } from './routes/security-route.ts';
import { squashRoute } from './routes/squash-route.ts';
import { torrentRoute } from './routes/torrent-route.ts';
import { localBlobRoute } from './routes/local-blob-route.ts';
import { webSeedRoute } from './routes/web-seed-route.ts';
import { openKeptImages, openSecurity, type SecurityService } from './security/open-security.ts';
import { openBlobCache } from './cache/open-blob-cache.ts';
import { DerivedImages } from './derived/derived-images.ts';
import { SourceResolver } from './derived/resolve-source.ts';
import { DerivedStore } from './derived/derived-store.ts';
import { Hashing } from './torrents/hashing.ts';
import { HashStore } from './torrents/hash-store.ts';
import { AnnounceTokens } from './tokens/announce-tokens.ts';
import { KeyRing } from './tokens/key-ring.ts';
import { loadSecrets } from './tokens/secret-file.ts';
import { webSeedUrl } from './torrents/web-seed-url.ts';
import { Tracker } from './tracker/tracker.ts';
import { turnsAtUpstream } from './upstream/turns-at-upstream.ts';
import { openUpstream } from './upstream/open-upstream.ts';
import { LayoutUpstream } from './upstream/layout-upstream.ts';
import { discard, type Upstream } from '../upstream/upstream.ts';
import type { BlobName } from '../http-server/path.ts';

export type { TorrentServiceOptions } from './options.ts';
export type { ServeEvent } from './events.ts';

/**
 * The longest wait for the upstream at the start. A registry that does not answer by then does not keep the service
 * from starting.
 */
const START_TIMEOUT_MS = 10_000;

/** How long a refusal to the service itself is remembered; web seeds of a blob that becomes readable come that much later. */
const OWN_REFUSALS_MS = 30_000;

/**
 * Bytes of manifests in memory, in all and for one site. Most have a few kilobytes, but a stranger may ask for one of
 * 4 MiB.
 */
const MANIFEST_BYTES: ShareLimits = { most: 48 * 1024 * 1024, mostEach: 16 * 1024 * 1024 };

/** A running `quayctl serve`. */
export interface TorrentService {
  /** Where it listens: `http://127.0.0.1:7070`. */
  readonly url: string;
  /** Goes into torrents. */
  readonly publicUrl: string;
  /** Where metrics are: `http://127.0.0.1:7072`, `unix:PATH`; undefined without an admin listener. */
  readonly adminUrl: string | undefined;
  /**
   * Takes up a new certificate and key, and what the secret file holds now; connections stay.
   * @throws QuayctlError `usage` for a certificate that is none; the old one then stays in use
   */
  reload(tls: TorrentServiceOptions['tls']): Promise<void>;
  /** Finishes answers under way, then stops. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts the torrent service.
 * @throws QuayctlError `usage` for options that do not fit each other; `port` where it cannot listen; `store` where
 *   the data directory or the secret cannot be used; `unreachable` for a layout that cannot be read; `protocol` for an
 *   upstream that is no registry
 */
export async function startTorrentService(options: TorrentServiceOptions): Promise<TorrentService> {
  const { signal } = options;
  signal?.throwIfAborted();
  const given = { publicUrl: publicUrl(options), announce: announceUrl(options) };
  const { clientOf, isProxy } = clientAddresses(options.trustedProxies ?? []);
  const ttlSeconds = tokenTtlSeconds(options);
  const isAnnounceFrom = addressRanges('--announce-from', options.announceFrom ?? []);
  const isBelieved = (source: string): boolean => isLoopbackAddress(source) || isAnnounceFrom(source);
  let tracker: Tracker | undefined;
  let security: SecurityService | undefined;
  const sources = {
    build: options.build ?? {},
    tracker: () => tracker?.counts,
    hashing: () => hashing.running,
    cache: () => cache.counts,
  };
  const metrics = new Metrics(sources);
  const troubles = new Troubles();
  const observer = new Observer();
  const listener: ServeListener = (event) => {
    metrics.listener(event);
    troubles.listener(event);
    options.listener(event);
  };
  const { upstream, own, basic } = openUpstream({ ...options, listener });
  const closing = new AbortController();
  const inTurns = turnsAtUpstream();
  const limitGuesses = limitPasswordGuesses();
  const manifestBytes = new Shares(MANIFEST_BYTES);
  await checkUpstream(options, upstream);
  const { secret, keys } = await loadSecrets(secretFile(options));
  const keyRing = new KeyRing(secretFile(options), keys, (reason) =>
    listener({ kind: 'warning', message: `${reason}; the keys from before are still in use` }),
  );
  const store = new HashStore(options.dataDirectory);
  const graceMs = options.permissionGraceMs;
  const permission = new Permission({ upstream, graceMs });
  const ownPermission = new Permission({ upstream: own, graceMs, refusalsMs: OWN_REFUSALS_MS });
  const kept = new ManifestCache(options.dataDirectory);
  const cache = await openBlobCache(options, upstream, listener);
  const hashing = new Hashing({ upstream, own, store, cache, listener });
  const resolver = new SourceResolver(upstream, permission);
  // rkt shows its password and nothing else, whatever the registry wants.
  const aciResolver = new SourceResolver(basic, new Permission({ upstream: basic, graceMs }));
  const derivedStore = new DerivedStore(options.dataDirectory);
  const derived = new DerivedImages({ upstream: basic, own, store: derivedStore, hashes: store, listener });
  const keptImages = await openKeptImages(options);
  const account = await KeptAccount.open(options.dataDirectory, observer, (message) =>
    listener({ kind: 'warning', message }),
  );
  const status = new ServiceStatus({
    ...{ observer, troubles, hashing, derived, cache, keys: keyRing },
    version: options.version ?? 'unknown',
    upstreams: upstream.hosts.length === 0 ? [options.upstream] : upstream.hosts,
    tracker: given.announce === undefined ? 'embedded' : 'external',
  });
  // Nodes of a swarm find each other, and who was let in lately gets manifests and torrents.
  const canServeAlone = (): boolean => permission.hasStanding || (tracker?.counts.peers ?? 0) > 0;
  const ready = readyRoute({ upstream, canServeAlone });
  const adminRoutes = new Map<string, Route>([
    ['metrics', metrics.route],
    ['healthz', healthRoute],
    ['readyz', ready],
    ...adminPages(status),
  ]);
  const admin = await openAdmin(options.admin, adminRoutes, listener);
  const { tls, bounds } = options;
  const server = await listen({ place: options.listen, tls, isProxy, bounds }, (url) => {
    const base = given.publicUrl ?? url;
    const announce = given.announce ?? `${base}/announce`;
    const seeds = { secret, publicUrl: base, ttlSeconds };
    const tokens = new AnnounceTokens({ keys: keyRing, secret, issuer: base, announce, ttlSeconds });
    const webSeed = (blob: BlobName): string => webSeedUrl(seeds, blob, Date.now());
    const aliases = options.aliases ?? [];
    const names = upstreamNames({ hosts: upstream.hosts, aliases, ownUrls: [url, base] });
    const { peers } = options;
    const onTorrent: OnTorrent = (infoHash, name, { client }) =>
      observer.torrent(infoHash, name, given.announce === undefined ? undefined : client);
    const onDerived = observer.tags.link.bind(observer.tags);
    const torrents = { permission, secret, tokens, webSeed, names, peers, onTorrent, onDerived };
    const onKey = (fingerprint: string): void => listener({ kind: 'aci-key', fingerprint });
    const signer = new AciSigner(secretFile(options), onKey);
    security = openSecurity({ ...options, listener, own: ownPermission, webSeed }, keptImages);
    const c1 = c1Route({
      torrent: torrentRoute({ ...torrents, own: ownPermission, hashing, cache }),
      squash: squashRoute({ ...torrents, registry: upstream.hosts[0], resolver, derived }),
      aci: aciRoute({ ...torrents, resolver: aciResolver, derived, signer }),
      security: securityRoute({ ...security, resolver, names, secret }),
    });
    const ownLocal = { cache, hashing, permission: ownPermission, listener };
    const manifests = {
      kept: observed(upstream instanceof LayoutUpstream ? NOT_KEPT : kept, observer),
      ...{ permission, manifestBytes },
      onTag: observer.tags.tag.bind(observer.tags),
    };
    const routes: [string, Route][] = [
      [
        'v2',
        limitGuesses(
          localBlobRoute(
            { cache, hashing, permission, listener },
            names,
            inTurns(registryRoute({ upstream, names, manifests })),
          ),
        ),
      ],
      ['c1', limitGuesses(c1)],
      [
        'ws',
        inTurns(webSeedRoute({ own, permission: ownPermission, secret, store, local: ownLocal, derived })),
      ],
      ['.well-known', keySetRoute(tokens)],
      [ACI_KEY_PATH, aciKeyRoute(signer)],
      ['healthz', healthRoute],
      ['readyz', ready],
    ];
    if (given.announce === undefined) {
      const onAnnounce = observer.announced.bind(observer);
      const limit = options.announceLimit;
      tracker = new Tracker({ tokens, listener, limit, isBelieved, peers, onAnnounce });
      routes.push(['announce', tracker.announceRoute], ['scrape', tracker.scrapeRoute]);
    }
    const discovered = [...upstream.hosts, ...aliases, new URL(base).host];
    const discovery = aciDiscoveryRoute({ names: discovered, publicUrl: base });
    return router({
      routes: new Map(routes),
      posts: new Map([
        ['c1/reachable', reachableRoute({ tokens, isProxy })],
        ['c1/report', reportRoute({ tokens, observer, onReport: metrics.onReport })],
      ]),
      routeByQuery: (exchange) => (isAciDiscovery(exchange) ? discovery : undefined),
      listener,
      clientOf,
      closing: closing.signal,
      unbounded: new Set(['healthz', 'readyz']),
    });
  });
  const adminUrl = admin === undefined ? {} : { admin: admin.url };
  listener({ kind: 'listening', url: server.url, upstream: options.upstream, ...adminUrl });

  let closed: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    closing.abort();
    await server.close();
    await admin?.close();
    hashing.close();
    derived.close();
    await security?.close();
    tracker?.close();
    observer.close();
    await account.close();
    listener({ kind: 'stopped' });
  };
  const close = (): Promise<void> => (closed ??= stop());
  signal?.addEventListener('abort', () => void close(), { once: true });
  const reload = async (pair: TorrentServiceOptions['tls']): Promise<void> => {
    if (pair !== undefined) server.useCertificate(pair);
    await keyRing.reload();
    listener({ kind: 'reloaded' });
  };
  return { reload, url: server.url, publicUrl: given.publicUrl ?? server.url, adminUrl: admin?.url, close };
}

/** Manifests of a layout are on this machine already. */
const NOT_KEPT: Pick<ManifestCache, 'find' | 'keep'> = {
  find: () => Promise.resolve(undefined),
  keep: () => Promise.resolve(),
};

/** Manifests that pass through say which tags their layers have. */
function observed(
  kept: Pick<ManifestCache, 'find' | 'keep'>,
  { tags }: Observer,
): Pick<ManifestCache, 'find' | 'keep'> {
  return {
    find: (...name) => kept.find(...name),
    keep: (repository, selector, manifest) => {
      tags.manifest(repository, selector, manifest.bytes);
      return kept.keep(repository, selector, manifest);
    },
  };
}

/** A registry may come up after its service; what is no registry, or no layout, is said at once. */
async function checkUpstream(options: TorrentServiceOptions, upstream: Upstream): Promise<void> {
  const {
    listener,
    listen: { host },
    tls,
  } = options;
  const status = await statusOfBase(upstream).catch((error: unknown) => {
    const failure = asUnreachable(options.upstream, error);
    if (upstream instanceof LayoutUpstream) throw failure;
    listener({ kind: 'warning', message: failure.message });
  });
  if (status === 401 && !isLoopback(host) && tls === undefined) {
    const message = `--listen ${host}: what callers show for ${options.upstream} crosses the network in the clear; use --tls-cert and --tls-key, or a proxy that speaks TLS`;
    listener({ kind: 'warning', message });
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
