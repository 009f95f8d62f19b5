import { arch, platform as osName } from 'node:os';
import type { OciEngineEntry } from '../engines/engine-entry.ts';
import type { Engine } from '../engines/engine.ts';
import { normalizePlatform, type Platform } from '../image/platform.ts';
import { aciReference } from '../image/aci.ts';
import type { ImageReference } from '../image/reference.ts';
import type { Listener } from '../pull/events.ts';
import type { PullContext, PullRules } from '../pull/pull-context.ts';
import { openRepository } from '../registry/open-repository.ts';
import { openTorrentService } from '../registry/open-torrent-service.ts';
import type { ContextOpener } from '../pull/seed-store.ts';
import { GO_NAMES } from './build-facts.ts';
import { credentialFor } from './credentials.ts';
import type { RawTorrentFlags, TorrentFlags } from './flags.ts';
import { locateAci } from './locate-aci.ts';
import { openServices, type ClientServices } from './open-services.ts';
import type { Session } from './session.ts';

/** All that a torrent command opens, closed in one go. */
interface OpenContexts extends ContextOpener {
  readonly http: ClientServices['http'];
  readonly nodeKey: ClientServices['nodeKey'];
  /** @param service where torrents are asked for; by default `--torrent-service`, else the registry itself */
  of(reference: ImageReference, service?: URL): Promise<PullContext>;
  close(): Promise<void>;
}

/** Opens the contexts for a piece of work and closes them after it, however it ends. */
export async function withContexts(
  flags: TorrentFlags,
  engine: Engine | undefined,
  listener: Listener,
  session: Session,
  work: (contexts: OpenContexts) => Promise<void>,
  options: Parameters<typeof openServices>[3] = {},
): Promise<void> {
  const contexts = await openContexts(flags, engine, listener, session, options);
  try {
    await work(contexts);
  } finally {
    await contexts.close();
  }
}

/** The composition root of `torrent pull` and `torrent seed`: every constructor is called here. */
async function openContexts(
  flags: TorrentFlags,
  engine: Engine | undefined,
  listener: Listener,
  session: Session,
  options: Parameters<typeof openServices>[3],
): Promise<OpenContexts> {
  const services = await openServices(flags, listener, session, options);
  const { http, warn, store, downloads, nodeKey } = services;
  return {
    http,
    nodeKey,
    store,
    downloads,
    listener,
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
        hostsWithoutTorrents: store.hostsWithoutTorrents,
        nodeKey: async () => (await nodeKey()).thumbprint,
      });
      return {
        name: { registry, repository: reference.repository },
        repository,
        torrents,
        store,
        downloads,
        listener,
        ...(engine === undefined ? {} : { engine }),
      };
    },
    locate: async (name, signal) => {
      const reference = aciReference(name);
      const known = reference === undefined ? undefined : await store.serviceOf(reference);
      const torrentService = flags.torrentService ?? known;
      return locateAci(name, { ...flags, torrentService }, services, session, signal);
    },
    close: services.close,
  };
}

/** The flags that say how blobs may be obtained. */
export function rulesOf(flags: TorrentFlags): PullRules {
  const { skipWebSeed, waitForPeersMs, trackers, offlineOk } = flags;
  return { skipWebSeed, waitForPeersMs, trackers, offlineOk };
}

/** What this machine would run. Container images are for Linux wherever the tool itself runs. */
export function hostPlatform(): Platform {
  const os = osName() === 'win32' ? 'windows' : 'linux';
  return normalizePlatform({ os, architecture: GO_NAMES[arch()] ?? arch() });
}

/** The engine of a command with its own options among the flags. @throws QuayctlError `engine`, `usage` */
export async function openEngine(
  entry: OciEngineEntry | undefined,
  raw: RawTorrentFlags,
  session: Session,
): Promise<Engine | undefined> {
  return entry?.open({ env: { ...session.env, HOME: session.home }, options: raw });
}
