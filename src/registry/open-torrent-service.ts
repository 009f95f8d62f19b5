import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest, type Digest } from '../image/digest.ts';
import type { ManifestDocument } from '../image/manifest.ts';
import { MANIFEST_TYPES } from '../image/media-types.ts';
import { isLoopback } from '../base/ip-address.ts';
import { dumpBody } from '../http/http.ts';
import { QuayctlError } from '../base/errors.ts';
import { manifestName, readManifestDocument } from './manifest-document.ts';
import type { AnnounceToken } from '../metainfo/tracker-address.ts';
import { readConnectBack } from './connect-back.ts';
import type { ConnectBack, TorrentAnswer, TorrentService } from './repository.ts';
import { sendReport, type LayerReport, type ReportAnswer } from './service-reports.ts';
import {
  assertNotInTheClear,
  nodeKeyHeader,
  pathOf,
  ServiceAsker,
  type ServiceAskerOptions,
} from './service-asker.ts';
import { serviceBlobs } from './service-blobs.ts';
import { KEY_SET_PATH, ServiceKeySet } from './service-keys.ts';
import { readTorrentAnswer } from './torrent-answer.ts';

const TORRENT_TYPE = 'application/x-bittorrent';
const LONGEST_WAIT_SECONDS = 60;

/** Hosts that serve no torrents: host and time only, for an hour. The caller keeps it in the store. */
export interface HostsWithoutTorrents {
  isSilent(host: string): Promise<boolean>;
  remember(host: string): Promise<void>;
}

export interface TorrentServiceOptions extends ServiceAskerOptions {
  /** Of the repository. */
  readonly name: string;
  readonly hostsWithoutTorrents: HostsWithoutTorrents;
}

/** Asks for torrents at the registry itself, or at `--torrent-service`. */
export function openTorrentService(options: TorrentServiceOptions): TorrentService {
  return new HttpTorrentService(options);
}

/** What is asked for: where below `/c1/`, and how people call it. */
interface Wanted {
  readonly path: string;
  readonly what: string;
}

class HttpTorrentService implements TorrentService {
  readonly #options: TorrentServiceOptions;
  readonly #asker: ServiceAsker;
  readonly #keySet: ServiceKeySet;
  readonly blob: TorrentService['blob'];
  /** What is known of the host in this run: asked once, not once per layer. */
  #silent = false;

  constructor(options: TorrentServiceOptions) {
    this.#options = options;
    this.#asker = new ServiceAsker(options);
    this.#keySet = new ServiceKeySet(async (signal) => {
      const base = await this.#asker.base(signal);
      const url = new URL(`${pathOf(base)}${KEY_SET_PATH}`, base);
      // Keys are for everybody: no credential is shown.
      return { answer: await options.http.request(url, { registry: options.registry, signal }), url };
    });
    this.blob = options.service === undefined ? undefined : serviceBlobs(this.#asker, options);
  }

  get host(): string {
    return this.#options.service?.host ?? this.#options.registry;
  }

  get isGiven(): boolean {
    return this.#options.service !== undefined;
  }

  torrent({ digest }: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { name } = this.#options;
    const what = `the torrent of ${shortDigest(digest)}`;
    return this.#torrent({ path: `torrent/${name}/blobs/${digest}`, what }, waitSeconds, signal);
  }

  async squashed(manifest: Digest, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { name, insecure } = this.#options;
    const base = await this.#asker.base(signal);
    // Its digest comes from the service alone, so no host on the way may be able to answer in its place.
    assertNotInTheClear(base, 'squashed images', insecure);
    const what = `the squashed image of ${shortDigest(manifest)}`;
    return this.#torrent({ path: `squash/${name}/${manifest}`, what }, waitSeconds, signal);
  }

  serviceKeys(kid: string, signal: AbortSignal): Promise<unknown> {
    return this.#keySet.get(kid, signal);
  }

  async report(token: AnnounceToken, report: LayerReport, signal: AbortSignal): Promise<ReportAnswer> {
    const { http, registry } = this.#options;
    return sendReport(http, await this.#asker.base(signal), { token, report }, { registry, signal });
  }

  async #torrent(wanted: Wanted, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { service, hostsWithoutTorrents } = this.#options;
    const base = await this.#asker.base(signal);
    const none: TorrentAnswer = { kind: 'none', reason: `${base.host} serves no torrents` };
    // Named by the user it is asked again, whatever was remembered.
    this.#silent ||= service === undefined && (await hostsWithoutTorrents.isSilent(base.host));
    if (this.#silent) return none;
    const wait = Math.max(0, Math.min(LONGEST_WAIT_SECONDS, Math.ceil(waitSeconds)));
    const url = this.#torrentUrl(base, wanted, wait);
    const headers = { accept: TORRENT_TYPE, ...(await nodeKeyHeader(this.#options.nodeKey)) };
    const question = { headers, waitSeconds: wait, signal };
    const { answer, authorization } = await this.#asker.ask(url, question);
    const read = await readTorrentAnswer(answer, url, this.#options.http.isLocal(url), signal);
    switch (read.kind) {
      case 'refused':
        throw this.#asker.refusal(url, wanted.what, authorization);
      case 'no-service':
        if (!read.isPassing) {
          this.#silent = true;
          if (service === undefined) await hostsWithoutTorrents.remember(base.host);
        }
        return none;
      default:
        return read;
    }
  }

  async connectBack(port: number, token: string, signal: AbortSignal): Promise<ConnectBack | undefined> {
    const { http, service, registry } = this.#options;
    const base = await this.#asker.base(signal);
    const answer = await http.request(new URL(`${pathOf(base)}/c1/reachable`, base), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ port }),
      registry: service === undefined ? registry : undefined,
      signal,
    });
    return readConnectBack(answer, base, signal);
  }

  async manifest(selector: string | Digest, signal: AbortSignal): Promise<ManifestDocument> {
    const { service, registry, name, insecure } = this.#options;
    const wanted = { repository: `${registry}/${name}`, selector };
    const none = new QuayctlError('not-found', `no torrent service has ${manifestName(wanted)}`);
    if (service === undefined) throw none;
    // The service is believed about what a tag means, so no host on the way may be able to answer in its place.
    if (service.protocol === 'http:' && !isLoopback(service.hostname) && !insecure) throw none;
    const url = new URL(`${pathOf(service)}/v2/${name}/manifests/${selector}`, service);
    const question = { headers: { accept: MANIFEST_TYPES.join(', ') }, signal };
    const { answer, authorization } = await this.#asker.ask(url, question);
    if (answer.statusCode === 200) return readManifestDocument(answer, url, wanted, signal);
    await dumpBody(answer);
    if (answer.statusCode !== 401 && answer.statusCode !== 403) throw none;
    throw this.#asker.refusal(url, `the manifest of ${manifestName(wanted)}`, authorization);
  }

  #torrentUrl(base: URL, { path }: Wanted, waitSeconds: number): URL {
    const url = new URL(`${pathOf(base)}/c1/${path}`, base);
    url.searchParams.set('ns', this.#options.registry);
    if (waitSeconds > 0) url.searchParams.set('wait', String(waitSeconds));
    return url;
  }
}
