import { Http } from '../http/http.ts';
import { createTimetableLimiter } from '../base/rate-limiter.ts';
import { redact } from '../base/redact.ts';
import type { Listener } from '../pull/events.ts';
import { Downloads } from '../blobs/downloads.ts';
import { Reports } from '../blobs/reports.ts';
import type { SharedServices } from '../pull/pull-context.ts';
import { openStore } from '../store/open-store.ts';
import type { SwarmClient, SwarmClientOptions } from '../swarm/swarm-client.ts';
import type { NodeKey } from '../swarm/admission/node-key.ts';
import type { TorrentFlags } from './flags.ts';
import { openNodeKey } from './node-key.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import type { Session } from './session.ts';
import { ownStoreDirectory } from './store-directory.ts';

/** What every torrent command opens, whatever kind of image it is about. */
export interface ClientServices extends SharedServices {
  readonly http: Http;
  readonly warn: (message: string) => void;
  /** This user's, opened or made when it is needed first. */
  readonly nodeKey: () => Promise<NodeKey>;
  readonly close: () => Promise<void>;
}

/**
 * Nothing is asked of the network yet.
 * @param lingerMs how long a download goes on that nobody wants any more, milliseconds
 * @throws QuayctlError `store`
 */
export async function openServices(
  flags: TorrentFlags,
  listener: Listener,
  session: Session,
  { lingerMs = 0 }: { readonly lingerMs?: number } = {},
): Promise<ClientServices> {
  const http = new Http({
    env: session.env,
    certsDirectory: CERTS_DIRECTORY,
    ...(flags.retries === undefined ? {} : { retries: flags.retries }),
    onExchange: (message) => listener({ kind: 'debug', message }),
  });
  const store = await openStore(await ownStoreDirectory(flags.store, session));
  const downloadLimiter = createTimetableLimiter(flags.downloadRate);
  const uploadLimiter = createTimetableLimiter(flags.uploadRate);
  const warn = (message: string): void => listener({ kind: 'warning', message });
  let key: Promise<NodeKey> | undefined;
  const nodeKey = (): Promise<NodeKey> => (key ??= openNodeKey(session, warn));
  let client: Promise<SwarmClient> | undefined;
  const swarm = (): Promise<SwarmClient> =>
    (client ??= openSwarm(flags, { http, downloadLimiter, uploadLimiter }, nodeKey, listener));
  const reports = flags.report ? new Reports(session.version) : undefined;
  const downloads = new Downloads({ store, swarm, downloadLimiter, listener, lingerMs, reports });
  return {
    http,
    store,
    downloads,
    listener,
    warn,
    nodeKey,
    close: async () => {
      await downloads.close();
      await (await client)?.close();
      await http.close();
      await store.close();
    },
  };
}

/** Loaded at the first torrent. */
export async function openSwarm(
  flags: TorrentFlags,
  shared: Pick<SwarmClientOptions, 'http' | 'downloadLimiter' | 'uploadLimiter'>,
  nodeKey: () => Promise<NodeKey>,
  listener: Listener,
): Promise<SwarmClient> {
  const { openSwarmClient } = await import('../swarm/open-swarm-client.ts');
  return openSwarmClient({
    lowerPort: flags.ports.lower,
    upperPort: flags.ports.upper,
    portRangeStrict: flags.ports.given,
    ...(flags.announceIp === undefined ? {} : { announceIp: flags.announceIp }),
    encryptionMode: flags.encryptionMode,
    connectionsPerSecond: flags.connectionsPerSecond,
    ...shared,
    nodeKey: await nodeKey(),
    onWarning: (message) => listener({ kind: 'warning', message: redact(message) }),
    onDebug: (message) => listener({ kind: 'debug', message: redact(message) }),
  });
}
