import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import type { TorrentAnswer, TorrentService } from './repository.ts';
import { ServiceAsker, type ServiceAskerOptions } from './service-asker.ts';
import { readTorrentAnswer } from './torrent-answer.ts';

const TORRENT_TYPE = 'application/x-bittorrent';
const LONGEST_WAIT_SECONDS = 60;

/** Hosts that serve no torrents: host and time only, for an hour. The caller keeps it in the store. */
export interface SilentHosts {
  isSilent(host: string): Promise<boolean>;
  remember(host: string): Promise<void>;
}

export interface TorrentServiceOptions extends ServiceAskerOptions {
  /** Of the repository. */
  readonly name: string;
  readonly silentHosts: SilentHosts;
}

/** Asks for torrents at the registry itself, or at `--torrent-service`. */
export function openTorrentService(options: TorrentServiceOptions): TorrentService {
  return new HttpTorrentService(options);
}

class HttpTorrentService implements TorrentService {
  readonly #options: TorrentServiceOptions;
  readonly #asker: ServiceAsker;
  /** What is known of the host in this run: asked once, not once per layer. */
  #silent = false;

  constructor(options: TorrentServiceOptions) {
    this.#options = options;
    this.#asker = new ServiceAsker(options);
  }

  async torrent(blob: Descriptor, waitSeconds: number, signal: AbortSignal): Promise<TorrentAnswer> {
    const { service, silentHosts } = this.#options;
    const base = await this.#asker.base(signal);
    const none: TorrentAnswer = { kind: 'none', reason: `${base.host} serves no torrents` };
    // Named by the user it is asked again, whatever was remembered.
    this.#silent ||= service === undefined && (await silentHosts.isSilent(base.host));
    if (this.#silent) return none;
    const wait = Math.max(0, Math.min(LONGEST_WAIT_SECONDS, Math.ceil(waitSeconds)));
    const url = this.#torrentUrl(base, blob, wait);
    const question = { headers: { accept: TORRENT_TYPE }, waitSeconds: wait, signal };
    const { answer, authorization } = await this.#asker.ask(url, question);
    const read = await readTorrentAnswer(answer, url, signal);
    switch (read.kind) {
      case 'refused':
        throw this.#asker.refusal(url, `the torrent of ${shortDigest(blob.digest)}`, authorization);
      case 'no-service':
        if (!read.isPassing) {
          this.#silent = true;
          if (service === undefined) await silentHosts.remember(base.host);
        }
        return none;
      default:
        return read;
    }
  }

  #torrentUrl(base: URL, blob: Descriptor, waitSeconds: number): URL {
    const prefix = base.pathname.replace(/\/+$/, '');
    const url = new URL(`${prefix}/c1/torrent/${this.#options.name}/blobs/${blob.digest}`, base);
    url.searchParams.set('ns', this.#options.registry);
    if (waitSeconds > 0) url.searchParams.set('wait', String(waitSeconds));
    return url;
  }
}
