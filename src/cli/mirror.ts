import { QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { redact } from '../base/redact.ts';
import { formatBytes, parseDuration } from '../base/units.ts';
import { parseImageReference, type ImageReference } from '../image/reference.ts';
import type { MirrorEvent } from '../mirror/mirror-context.ts';
import { startMirror } from '../mirror/mirror.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import { canonicalHost } from '../mirror/target.ts';
import type { PullEvent } from '../pull/events.ts';
import type { PullContext } from '../pull/pull-context.ts';
import { seedStore } from '../pull/seed-store.ts';
import { shortDigest } from '../image/digest.ts';
import { adminOptions } from './admin-flags.ts';
import { openMirrorAdmin } from './mirror-admin.ts';
import { hostAndPort, httpUrl, named, readTorrentFlags } from './flags.ts';
import { jsonLine, parseLogFormat } from './log-format.ts';
import { withContexts, rulesOf } from './with-contexts.ts';
import { printableLine } from './printable.ts';
import type { Session } from './session.ts';
import { startWatchdog } from './watchdog.ts';

/** A download goes on for so long after its last reader has left. */
const LINGER_MS = 60_000;
/** Beside that of `serve`, 7072. */
const DEFAULT_ADMIN_LISTEN = '127.0.0.1:7073';
const SHORTEST_STALL_MS = 1_000;

/** `quayctl mirror`'s flags as commander hands them over. */
export interface RawMirrorFlags {
  readonly registry?: readonly string[];
  readonly torrentService?: string;
  readonly listen: string;
  readonly stall: string;
  readonly permissionGrace: string;
  readonly insecure?: boolean;
  readonly debug?: boolean;
  readonly logFormat: string;
  readonly lowerPort: string;
  readonly upperPort: string;
  readonly announceIp?: string;
  readonly downloadRate: string;
  readonly uploadRate: string;
  readonly connectionsPerSecond: string;
  readonly encryptionMode: string;
  readonly adminListen?: string;
  readonly adminTokenFile?: string;
  readonly report?: boolean;
  readonly store?: string;
}

/** Mirrors, and seeds what the store holds, until a signal ends it. @throws QuayctlError `usage`, `port`, `store` */
export async function runMirror(raw: RawMirrorFlags, session: Session): Promise<void> {
  const flags = readTorrentFlags({ ...raw, waitForPeers: '0' });
  const registries = registriesOf(raw.registry ?? [], flags.torrentService);
  const place = hostAndPort('--listen', raw.listen);
  if (!isLoopback(place.host)) {
    throw new QuayctlError(
      'usage',
      `--listen: an address of this machine alone is wanted, not ${raw.listen}`,
      {
        hint: 'engines show their credentials here: 127.0.0.1:PORT',
      },
    );
  }
  const stallMs = named('--stall', raw.stall, parseDuration);
  if (stallMs < SHORTEST_STALL_MS) throw new QuayctlError('usage', '--stall: at least 1s');
  const permissionGraceMs = named('--permission-grace', raw.permissionGrace, parseDuration);
  const admin = await adminOptions(raw, DEFAULT_ADMIN_LISTEN);
  const told: ((event: BlobEvent) => void)[] = [];
  const format = parseLogFormat(raw.logFormat);
  const listener = (event: PullEvent | MirrorEvent): void => {
    if (isBlobEvent(event)) for (const tell of told) tell(event);
    const line = eventLine(event, raw.debug ?? false);
    if (line === undefined) return;
    session.terminal.err(`${format === 'json' ? jsonLine(event, line) : printableLine(redact(line))}\n`);
  };
  const stopWatching = startWatchdog();
  try {
    await withContexts(
      flags,
      undefined,
      listener,
      session,
      async (contexts) => {
        const adminListener = await openMirrorAdmin(admin, [...registries.keys()], told, {
          downloads: contexts.downloads,
          listener,
          version: session.version,
        });
        const { http, store, downloads, nodeKey } = contexts;
        const mirror = await startMirror({
          ...{ registries, http, store, downloads, stallMs, permissionGraceMs },
          listen: place,
          insecure: flags.insecure,
          nodeKey: async () => (await nodeKey()).thumbprint,
          listener,
        });
        session.terminal.out(`${mirror.url}\n`);
        const of = async (reference: ImageReference): Promise<PullContext> => {
          const service = registries.get(canonicalHost(reference.registry));
          return contexts.of(reference, service ?? (await store.serviceOf(reference)));
        };
        try {
          await seedStore(
            { contexts: { ...contexts, of }, rules: rulesOf(flags), durationMs: undefined },
            session.signal,
          );
        } finally {
          await adminListener?.close();
          await mirror.close();
        }
      },
      { lingerMs: LINGER_MS },
    );
  } finally {
    await stopWatching();
  }
}

function isBlobEvent(event: PullEvent | MirrorEvent): event is BlobEvent {
  return ['fetched', 'warning'].includes(event.kind);
}

/** `HOST` or `HOST=SERVICE-URL`, each. @throws QuayctlError `usage` */
function registriesOf(given: readonly string[], service: URL | undefined): Map<string, URL> {
  const registries = new Map<string, URL>();
  for (const text of given) {
    const [, name = '', url] = /^([^=]*)(?:=(.*))?$/s.exec(text) ?? [];
    const host = registryHost(name);
    const own = url === undefined ? service : httpUrl('--registry', url);
    if (own === undefined) {
      throw new QuayctlError('usage', `--registry ${host}: no torrent service is named`, {
        hint: `--torrent-service URL, or --registry ${host}=URL`,
      });
    }
    registries.set(host, own);
  }
  if (registries.size > 0) return registries;
  throw new QuayctlError('usage', '--registry HOST is missing', {
    hint: 'name every registry to be mirrored',
  });
}

/** @throws QuayctlError `usage` */
function registryHost(text: string): string {
  const host = canonicalHost(text);
  const parsed = named('--registry', `${host}/library/any`, parseImageReference);
  if (parsed.registry === host && parsed.repository === 'library/any') return host;
  throw new QuayctlError('usage', `--registry: not a host: ${JSON.stringify(text.slice(0, 100))}`);
}

/** One line for each event; undefined for what only `--debug` tells. */
function eventLine(event: PullEvent | MirrorEvent, debug: boolean): string | undefined {
  switch (event.kind) {
    case 'warning':
      return event.message;
    case 'debug':
      return debug ? event.message : undefined;
    case 'request':
      return debug || event.status >= 500
        ? `${event.method} ${event.path} ${event.status} ${event.bytes} bytes in ${event.milliseconds} ms`
        : undefined;
    case 'stored': {
      const { registry, repository, digest, outcome } = event;
      const sources = [
        [outcome.fromPeers, 'from peers'],
        [outcome.fromRegistry, 'from the registry'],
        [outcome.fromStore, 'from this disk'],
      ] as const;
      const shown = sources
        .filter(([bytes]) => bytes > 0)
        .map(([bytes, from]) => `${formatBytes(bytes)} ${from}`);
      return `${registry}/${repository} ${shortDigest(digest)}: ${shown.join(', ')}`;
    }
    case 'cut': {
      const { registry, repository, digest, reason } = event;
      return `${registry}/${repository} ${shortDigest(digest)}: cut, the engine asks the registry itself (${reason})`;
    }
    default:
      return undefined;
  }
}
