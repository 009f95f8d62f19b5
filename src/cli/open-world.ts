import { arch, platform as osName } from 'node:os';
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Http } from '../base/http.ts';
import { createRateLimiter } from '../base/rate-limiter.ts';
import { redact } from '../base/redact.ts';
import { openEngine } from '../engines/engines.ts';
import type { Engine } from '../engines/engine.ts';
import { normalizePlatform, type Platform } from '../image/platform.ts';
import type { ImageReference } from '../image/reference.ts';
import type { Listener } from '../pull/events.ts';
import type { FetchRules, World } from '../pull/world.ts';
import { openRepository } from '../registry/open-repository.ts';
import { openTorrentService } from '../registry/open-torrent-service.ts';
import type { Worlds } from '../pull/seed-store.ts';
import { openStore } from '../store/open-store.ts';
import type { SwarmClient, SwarmClientOptions } from '../swarm/swarm-client.ts';
import { credentialFor } from './credentials.ts';
import type { TorrentFlags } from './flags.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import { xdgDirectory, type Session } from './session.ts';

/** All that a torrent command opens, closed in one go. */
interface OpenWorlds extends Worlds {
  /** @param service where torrents are asked for; by default `--torrent-service`, else the registry itself */
  of(reference: ImageReference, service?: URL): Promise<World>;
  close(): Promise<void>;
}

/** Opens the worlds for a piece of work and closes them after it, however it ends. */
export async function inWorlds(
  flags: TorrentFlags,
  engineName: 'docker' | 'none',
  listener: Listener,
  session: Session,
  work: (worlds: OpenWorlds) => Promise<void>,
): Promise<void> {
  const worlds = await openWorlds(flags, engineName, listener, session);
  try {
    await work(worlds);
  } finally {
    await worlds.close();
  }
}

/** What every torrent command opens, whatever kind of image it is about. */
export interface Commons extends Pick<World, 'store' | 'swarm' | 'downloadLimiter' | 'listener'> {
  readonly http: Http;
  readonly warn: (message: string) => void;
  readonly close: () => Promise<void>;
}

/** The composition root of `torrent pull` and `torrent seed`: every constructor is called here. */
async function openWorlds(
  flags: TorrentFlags,
  engineName: 'docker' | 'none',
  listener: Listener,
  session: Session,
): Promise<OpenWorlds> {
  const commons = await openCommons(flags, listener, session);
  const { http, warn, store, swarm, downloadLimiter } = commons;
  const engine = engineName === 'none' ? undefined : await lazyEngine(engineName, session);
  return {
    store,
    of: async (reference, service = flags.torrentService) => {
      const credential = await credentialFor(reference, session, warn);
      const { registry } = reference;
      const access = { registry, credential, http, insecure: flags.insecure, onWarning: warn };
      const repository = openRepository(access, reference.repository);
      if (flags.torrentService !== undefined) await store.noteService(reference, flags.torrentService);
      const torrents = openTorrentService({
        http,
        repository,
        registry,
        name: reference.repository,
        service,
        insecure: flags.insecure,
        sendCredentials: flags.sendCredentials,
        silentHosts: store.silentHosts,
      });
      return {
        repository,
        torrents,
        store,
        swarm,
        downloadLimiter,
        listener,
        ...(engine === undefined ? {} : { engine }),
      };
    },
    close: commons.close,
  };
}

export async function openCommons(
  flags: TorrentFlags,
  listener: Listener,
  session: Session,
): Promise<Commons> {
  const http = new Http({
    env: session.env,
    certsDirectory: CERTS_DIRECTORY,
    onExchange: (message) => listener({ kind: 'debug', message }),
  });
  const store = await openStore(storeDirectory(flags.store, session));
  const downloadLimiter = createRateLimiter(flags.downloadRate);
  const uploadLimiter = createRateLimiter(flags.uploadRate);
  let client: Promise<SwarmClient> | undefined;
  return {
    http,
    store,
    downloadLimiter,
    listener,
    warn: (message) => listener({ kind: 'warning', message }),
    swarm: () => (client ??= openSwarm(flags, { http, downloadLimiter, uploadLimiter }, listener)),
    close: async () => {
      await (await client)?.close();
      await http.close();
      await store.close();
    },
  };
}

/** `--store`, QUAYCTL_STORE, `$XDG_CACHE_HOME/quayctl`. */
export function storeDirectory(given: string | undefined, session: Session): string {
  return resolve(given ?? xdgDirectory(session, 'XDG_CACHE_HOME', '.cache'));
}

/** The flags that say how blobs may be obtained. */
export function rulesOf(flags: TorrentFlags): FetchRules {
  const { skipWebSeed, waitForPeersMs, trackers, offlineOk } = flags;
  return { skipWebSeed, waitForPeersMs, trackers, offlineOk };
}

/** Node's names of processors where Go has others. */
const GO_NAMES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
};

/** What this machine would run. Container images are for Linux wherever the tool itself runs. */
export function hostPlatform(): Platform {
  const os = osName() === 'win32' ? 'windows' : 'linux';
  return normalizePlatform({ os, architecture: GO_NAMES[arch()] ?? arch() });
}

function lazyEngine(name: 'docker', session: Session): Promise<Engine> {
  return openEngine(name, { env: { ...session.env, HOME: session.home } });
}

/** Loaded at the first torrent: importing webtorrent alone takes half a second. */
async function openSwarm(
  flags: TorrentFlags,
  shared: Pick<SwarmClientOptions, 'http' | 'downloadLimiter' | 'uploadLimiter'>,
  listener: Listener,
): Promise<SwarmClient> {
  // Blocks die young, and V8 lets the space for the young grow until it holds 100 MB; what it keeps from growing costs
  // a few per cent of the time.
  setFlagsFromString('--semi-space-growth-factor=1');
  const { openSwarmClient } = await import('../swarm/open-swarm-client.ts');
  return openSwarmClient({
    lowerPort: flags.ports.lower,
    upperPort: flags.ports.upper,
    portRangeStrict: flags.ports.given,
    ...(flags.announceIp === undefined ? {} : { announceIp: flags.announceIp }),
    encryptionMode: flags.encryptionMode,
    connectionsPerSecond: flags.connectionsPerSecond,
    ...shared,
    onWarning: (message) => listener({ kind: 'warning', message: redact(message) }),
    onDebug: (message) => listener({ kind: 'debug', message: redact(message) }),
  });
}
