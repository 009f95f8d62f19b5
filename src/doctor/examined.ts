import type { Credential } from '../credentials/credential.ts';
import type { EngineEntry, EngineSettings } from '../engines/engine-entry.ts';
import type { Http } from '../http/http.ts';
import type { Platform } from '../image/platform.ts';
import type { ImageReference } from '../image/reference.ts';
import type { OpenRepository } from '../registry/open-repository.ts';
import type { TorrentService } from '../registry/repository.ts';
import type { Store } from '../store/store.ts';
import type { SwarmClient } from '../swarm/swarm-client.ts';
import type { EngineFiles } from './mirror-settings.ts';

/** What is examined of this machine, whatever image it is about. */
export interface ExaminedMachine {
  readonly http: Http;
  /** `--torrent-service` */
  readonly service: URL | undefined;
  readonly engines: readonly EngineEntry[];
  readonly engineSettings: EngineSettings;
  readonly engineFiles: EngineFiles;
  readonly storePath: string;
  /** Undefined where no store is there yet. @throws QuayctlError `store` */
  readonly openStore: () => Promise<Store | undefined>;
}

/** What is examined of one image: as its pull would have it. */
export interface ExaminedImage extends ExaminedMachine {
  readonly reference: ImageReference;
  readonly credential: Credential | undefined;
  /** Of credential stores that failed. */
  readonly credentialWarnings: readonly string[];
  readonly repository: OpenRepository;
  readonly torrents: TorrentService;
  readonly platform: Promise<Platform>;
  /** The range in which a peer port is taken, both included. */
  readonly ports: { readonly lower: number; readonly upper: number };
  /** Opened when it is needed, and closed by its opener. */
  readonly swarm: () => Promise<SwarmClient>;
  /** Speeds are measured: some seconds, and some MB of the registry and of peers. */
  readonly measures: boolean;
}
