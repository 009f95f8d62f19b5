import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { redact } from '../base/redact.ts';
import { parseDuration, parseSize } from '../base/units.ts';
import { parseImageReference, type ImageReference } from '../image/reference.ts';
import type { MirrorEvent } from '../mirror/mirror-context.ts';
import { RecentBlobs, startControl, type ControlOptions } from '../mirror/control.ts';
import { openIdentity } from '../mirror/identity.ts';
import { startMirror } from '../mirror/mirror.ts';
import type { BlobEvent } from '../blobs/blob-events.ts';
import { canonicalHost } from '../mirror/target.ts';
import type { PullEvent } from '../pull/events.ts';
import type { PullContext } from '../pull/pull-context.ts';
import { pull } from '../pull/pull.ts';
import { seedStore } from '../pull/seed-store.ts';
import { shortDigest } from '../image/digest.ts';
import { adminOptions } from './admin-flags.ts';
import { openMirrorAdmin } from './mirror-admin.ts';
import { serviceCredential } from './credentials.ts';
import { hostAndPort, named, readTorrentFlags } from './flags.ts';
import { jsonLine, parseLogFormat } from './log-format.ts';
import { controlPath, identityPath } from './mirror-identity.ts';
import { enginesOf, installFor } from './mirror-install.ts';
import { registriesOf } from './mirror-registries.ts';
import { hostPlatform, withContexts, rulesOf } from './with-contexts.ts';
import { sources } from './mirror-status.ts';
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
  readonly identity?: string;
  readonly plain?: boolean;
  readonly nodeAuth?: string;
  readonly cacheSize?: string;
  readonly contentStore?: readonly string[];
  readonly install?: readonly string[];
  readonly installRoot: string;
  readonly control?: string;
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
  if (raw.nodeAuth !== undefined && raw.plain === true) {
    throw new QuayctlError('usage', '--node-auth does not go with --plain', {
      hint: "the node's right is lent to those who show a secret, and that is shown over TLS alone",
    });
  }
  const stallMs = named('--stall', raw.stall, parseDuration);
  if (stallMs < SHORTEST_STALL_MS) throw new QuayctlError('usage', '--stall: at least 1s');
  if (raw.install !== undefined) enginesOf(raw.install);
  const cacheSize = raw.cacheSize === undefined ? undefined : named('--cache-size', raw.cacheSize, parseSize);
  const permissionGraceMs = named('--permission-grace', raw.permissionGrace, parseDuration);
  const admin = await adminOptions(raw, DEFAULT_ADMIN_LISTEN);
  const told: ((event: BlobEvent) => void)[] = [];
  const format = parseLogFormat(raw.logFormat);
  const say = (event: { readonly kind: string }, line: string): void => {
    session.terminal.err(`${format === 'json' ? jsonLine(event, line) : printableLine(redact(line))}\n`);
  };
  const listener = (event: PullEvent | MirrorEvent): void => {
    if (isBlobEvent(event)) for (const tell of told) tell(event);
    const line = eventLine(event, raw.debug ?? false);
    if (line !== undefined) say(event, line);
  };
  const identity = raw.plain === true ? undefined : await openIdentity(identityPath(raw.identity, session));
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
        const recent = new RecentBlobs();
        const mirror = await startMirror({
          ...{ registries, http, store, downloads, stallMs, permissionGraceMs },
          listen: place,
          identity,
          nodeAuth:
            raw.nodeAuth === undefined
              ? undefined
              : serviceCredential(raw.nodeAuth, session, (line) => say({ kind: 'warning' }, line)),
          cacheSize,
          contentStores: contentStoresOf(raw.contentStore, session),
          insecure: flags.insecure,
          nodeKey: async () => (await nodeKey()).thumbprint,
          listener: (event) => {
            recent.hear(event);
            listener(event);
          },
        });
        session.terminal.out(`${mirror.url}\n`);
        if (raw.install !== undefined) {
          const { host } = new URL(mirror.url);
          const engines = enginesOf(raw.install);
          const wanted = { registries: [...registries.keys()], host, identity, root: raw.installRoot };
          await installFor({ ...wanted, engines }, session);
        }
        const of = async (reference: ImageReference): Promise<PullContext> => {
          const service = registries.get(canonicalHost(reference.registry));
          return contexts.of(reference, service ?? (await store.serviceOf(reference)));
        };
        const rules = rulesOf(flags);
        const control = await openControl(raw, session, {
          status: async () => {
            const { blobs, partials, limit } = await store.usage();
            const names = [...registries.keys()];
            return {
              url: mirror.url,
              registries: names,
              store: { blobs, partials, limit },
              recent: recent.all,
            };
          },
          preheat: async (image, signal) => {
            const reference = parseImageReference(image);
            const request = { ...PREHEAT, reference, rules, hostPlatform: hostPlatform() };
            return pull({ ...request, onReceipt: () => undefined }, await of(reference), signal);
          },
          listener,
        });
        try {
          await seedStore({ contexts: { ...contexts, of }, rules, durationMs: undefined }, session.signal);
        } finally {
          await adminListener?.close();
          await control?.close();
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

/** An image for the store alone; it is seeded as all that the store holds. */
const PREHEAT = {
  destination: { kind: 'store' },
  recordDigest: false,
  seedMs: 0,
} as const;

/** A second mirror of this machine does without, unless it was given a place of its own. @throws QuayctlError `port` */
async function openControl(
  { control }: RawMirrorFlags,
  session: Session,
  options: Omit<ControlOptions, 'path'>,
): Promise<Awaited<ReturnType<typeof startControl>> | undefined> {
  const path = controlPath(control, session);
  try {
    await mkdir(dirname(path), { recursive: true });
    return await startControl({ ...options, path });
  } catch (error) {
    if (control !== undefined) throw error;
    const why = error instanceof Error ? error.message : String(error);
    options.listener({ kind: 'warning', message: `status and preheat cannot be asked for: ${why}` });
    return undefined;
  }
}

/** Where containerd, Docker with its image store, and k3s keep their blobs. */
const CONTENT_STORES = [
  '/var/lib/containerd',
  '/var/lib/docker/containerd/daemon',
  '/var/lib/rancher/k3s/agent/containerd',
].map((root) => `${root}/io.containerd.content.v1.content/blobs/sha256`);

/** Others than root may neither see nor link to what engines keep. */
function contentStoresOf(given: readonly string[] | undefined, { uid }: Session): readonly string[] {
  if (given === undefined) return uid === 0 ? CONTENT_STORES : [];
  return given.length === 1 && given[0] === 'none' ? [] : given;
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
      return `${registry}/${repository} ${shortDigest(digest)}: ${sources(outcome)}`;
    }
    case 'cut': {
      const { registry, repository, digest, reason } = event;
      return `${registry}/${repository} ${shortDigest(digest)}: cut, the engine asks the registry itself (${reason})`;
    }
    default:
      return undefined;
  }
}
