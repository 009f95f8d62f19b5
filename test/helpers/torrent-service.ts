import { Http } from '../../src/http/http.ts';
import {
  startTorrentService,
  type ServeEvent,
  type TorrentServiceOptions,
} from '../../src/serve/torrent-service.ts';
import type { Scope } from './processes.ts';
import { tempDirectory } from './temp.ts';

/** `quayctl serve` in this process, on loopback, with a data directory of its own unless one is given. */
export interface TestService {
  readonly url: string;
  /** `127.0.0.1:PORT`, as in an image reference. */
  readonly host: string;
  readonly data: string;
  /** Where its metrics are, if it was started with `admin`. */
  readonly adminUrl: string | undefined;
  readonly events: readonly ServeEvent[];
  /** The answer to a request for a blob's torrent. */
  torrent(repository: string, digest: string, options?: TorrentQuestion): Promise<Response>;
  close(): Promise<void>;
}

export interface TorrentQuestion {
  readonly authorization?: string;
  readonly wait?: number;
  /** Default: the service's own host. */
  readonly ns?: string;
}

export async function startService(
  scope: Scope,
  options: Pick<TorrentServiceOptions, 'upstream'> & Partial<TorrentServiceOptions>,
): Promise<TestService> {
  const events: ServeEvent[] = [];
  const data = options.dataDirectory ?? (await tempDirectory(scope, 'service'));
  const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
  const service = await startTorrentService({
    listen: { host: '127.0.0.1', port: 0 },
    listener: (event) => events.push(event),
    http,
    ...options,
    dataDirectory: data,
  });
  scope.after(async () => {
    await service.close();
    await http.close();
  });
  const { host } = new URL(service.url);
  return {
    url: service.url,
    host,
    data,
    adminUrl: service.adminUrl,
    events,
    torrent: (repository, digest, { authorization, wait = 30, ns = host } = {}) =>
      fetch(`${service.url}/c1/torrent/${repository}/blobs/${digest}?ns=${ns}&wait=${wait}`, {
        headers: authorization === undefined ? {} : { authorization },
      }),
    close: () => service.close(),
  };
}
