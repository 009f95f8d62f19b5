import { createHmac, randomBytes } from 'node:crypto';
import type { BlobListener } from '../blobs/blob-events.ts';
import type { BlobOrigin } from '../blobs/blob-origin.ts';
import { registrySource } from '../blobs/blob-source.ts';
import { TorrentFinder } from '../blobs/torrent-finder.ts';
import { guarded, type Credential } from '../credentials/credential.ts';
import type { Http } from '../http/http.ts';
import { openRepository } from '../registry/open-repository.ts';
import { openTorrentService } from '../registry/open-torrent-service.ts';
import type { Store } from '../store/store.ts';
import { ServiceCredentialUpstream, type OwnCredential } from '../upstream/service-credential-upstream.ts';
import { PasswordUpstream } from '../upstream/password-upstream.ts';
import { Permission } from '../upstream/permission.ts';
import { RegistryUpstream } from '../upstream/registry-upstream.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { KnownManifests } from './known-manifests.ts';
import type { AccessForm } from './target.ts';

/** A service that did not answer is asked again after so long, and a credential is forgotten. Milliseconds. */
const ORIGIN_MS = 60_000;

export interface MirroredRegistryOptions {
  /** As in references: `quay.io`, `docker.io`, `localhost:5000`. */
  readonly name: string;
  /** Where torrents are asked for. */
  readonly service: URL;
  readonly insecure: boolean;
  readonly http: Http;
  readonly store: Pick<Store, 'saveTorrent' | 'loadTorrent' | 'hostsWithoutTorrents'>;
  readonly permissionGraceMs: number;
  /** Thumbprint of the key by which peers know this node. */
  readonly nodeKey: () => Promise<string>;
  /** What this node itself may pull; undefined where it lends its right to nobody. */
  readonly nodeAuth: OwnCredential | undefined;
  readonly listener: BlobListener;
}

/** One way of asking a registry: with what a caller shows, and what that caller was granted. */
export interface Door {
  readonly upstream: Upstream;
  readonly permission: Permission;
}

/** A registry whose place this mirror takes for the engines of this machine. */
export class MirroredRegistry {
  readonly name: string;
  readonly service: URL;
  readonly manifests: KnownManifests;
  readonly #options: MirroredRegistryOptions;
  readonly #doors: { readonly [Form in AccessForm]: Door };
  readonly #origins = new Map<string, { readonly origin: BlobOrigin; readonly until: number }>();
  readonly #key = randomBytes(32);

  constructor(options: MirroredRegistryOptions) {
    this.name = options.name;
    this.service = options.service;
    this.manifests = new KnownManifests(options.name);
    this.#options = options;
    const { permissionGraceMs: graceMs } = options;
    const door = (upstream: Upstream): Door => ({
      upstream,
      permission: new Permission({ upstream, graceMs }),
    });
    const { requester } = openRepository({ ...this.#access(), credential: undefined }, 'library/any');
    const raw = new LazyUpstream(options.name, async (signal) => {
      const origin = await requester.base(signal);
      return { origin, upstream: new RegistryUpstream(origin, options.http) };
    });
    const basic = new LazyUpstream(options.name, async (signal) => {
      const opened = await raw.open(signal);
      return { ...opened, upstream: new PasswordUpstream({ ...opened, ...this.#access() }) };
    });
    const { nodeAuth = () => Promise.resolve(undefined) } = options;
    const node = new LazyUpstream(options.name, async (signal) => {
      const opened = await raw.open(signal);
      const service = { ...opened, ...this.#access(), credential: nodeAuth };
      return { ...opened, upstream: new ServiceCredentialUpstream(service) };
    });
    this.#doors = { ns: door(raw), path: door(basic), node: door(node) };
  }

  door(form: AccessForm): Door {
    return this.#doors[form];
  }

  /** Where the blobs of a repository come from, for one caller. Remembered under a keyed hash, for a minute. */
  async origin(
    repository: string,
    form: AccessForm,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<BlobOrigin> {
    const now = performance.now();
    for (const [key, { until }] of this.#origins) if (until < now) this.#origins.delete(key);
    const key = createHmac('sha256', this.#key)
      .update(`${repository}\n${form === 'node' ? form : ''}\n${authorization ?? ''}`)
      .digest('base64');
    const known = this.#origins.get(key);
    if (known !== undefined) return known.origin;
    const credential =
      form === 'node'
        ? await this.#options.nodeAuth?.(this.name, repository, signal)
        : credentialOf(authorization);
    const origin = this.#openOrigin(repository, credential);
    this.#origins.set(key, { origin, until: now + ORIGIN_MS });
    return origin;
  }

  #openOrigin(name: string, credential: Credential | undefined): BlobOrigin {
    const { service, insecure, http, store, listener, nodeKey } = this.#options;
    const repository = openRepository({ ...this.#access(), credential }, name);
    const torrents = openTorrentService({
      http,
      repository,
      registry: this.name,
      name,
      service,
      insecure,
      // An engine's Bearer token was made for this one repository by the registry's token server. A password stays here.
      sendCredentials: credential?.kind === 'registry-token',
      hostsWithoutTorrents: store.hostsWithoutTorrents,
      nodeKey,
    });
    return {
      name: { registry: this.name, repository: name },
      source: registrySource(repository),
      torrents: new TorrentFinder({ torrents, store, listener }),
      rules: { skipWebSeed: false, waitForPeersMs: 0, trackers: [] },
    };
  }

  #access() {
    const { name: registry, http, insecure, listener } = this.#options;
    const onWarning = (message: string): void => listener({ kind: 'warning', message });
    return { registry, http, insecure, onWarning };
  }
}

interface Opened {
  readonly origin: URL;
  readonly upstream: Upstream;
}

/** Whether a registry on loopback speaks HTTPS is found out when it is first asked. */
class LazyUpstream implements Upstream {
  readonly hosts: readonly string[];
  readonly open: (signal: AbortSignal) => Promise<Opened>;

  constructor(host: string, open: (signal: AbortSignal) => Promise<Opened>) {
    this.hosts = [host];
    this.open = open;
  }

  async ask(...[request, signal]: Parameters<Upstream['ask']>): ReturnType<Upstream['ask']> {
    const { upstream } = await this.open(signal);
    return upstream.ask(request, signal);
  }
}

/**
 * What a caller shows; undefined for nothing, and for the empty password that podman shows where it has none (RFC 7617, RFC 6750).
 */
export function shownAuthorization(header: string | undefined): string | undefined {
  return header === undefined || /^basic +Og==$/i.test(header.trim()) ? undefined : header;
}

function credentialOf(authorization: string | undefined): Credential | undefined {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization?.trim() ?? '') ?? [];
  if (scheme.toLowerCase() === 'bearer') return guarded({ kind: 'registry-token', token: value });
  if (scheme.toLowerCase() !== 'basic') return undefined;
  const pair = Buffer.from(value, 'base64').toString('utf8');
  const at = pair.indexOf(':');
  if (at <= 0) return undefined;
  return guarded({ kind: 'basic', username: pair.slice(0, at), password: pair.slice(at + 1) });
}
