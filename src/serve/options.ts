import { isIP } from 'node:net';
import { join } from 'node:path';
import { QuayctlError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import type { Http } from '../http/http.ts';
import type { Clair } from '../registry/security/clair.ts';
import type { Severity } from '../security/severity.ts';
import type { PeerRule } from '../metainfo/metainfo.ts';
import type { AdminOptions } from '../admin/admin-listener.ts';
import type { ServeListener } from './events.ts';
import type { ClientLimit } from '../http-server/client-limiter.ts';
import type { ServerBounds } from '../http-server/server.ts';
import type { OwnCredential } from '../upstream/service-credential-upstream.ts';

/** `quayctl serve`, its flags parsed. */
export interface TorrentServiceOptions {
  /** `https://HOST[:PORT]`, `http://...` (loopback, or with `insecure`), `HOST[:PORT]`, or `oci:DIR`. */
  readonly upstream: string;
  /** Port 0 for one of the kernel's choice. */
  readonly listen: { readonly host: string; readonly port: number };
  /** How clients reach the service; from `listen` by default, which must then be an address that they can reach. */
  readonly publicUrl?: string | undefined;
  /** URL of an external tracker; the embedded one then stays off. */
  readonly announce?: string | undefined;
  /** PEM. */
  readonly tls?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array } | undefined;
  readonly dataDirectory: string;
  /** The size of the blobs that are kept in the data directory; 0 for none, by default a tenth of the disk and at most 20 GiB. */
  readonly cacheBytes?: number | undefined;
  /** By default in the data directory. */
  readonly secretFile?: string | undefined;
  /** The life of announce tokens and signed web seed URLs; one hour by default. */
  readonly tokenTtlSeconds?: number | undefined;
  /** Plain HTTP towards an upstream that is not on loopback. */
  readonly insecure?: boolean | undefined;
  /** Further hosts by which references mean the upstream. */
  readonly aliases?: readonly string[] | undefined;
  /** The service's own pull credential; without one it reads what strangers may read. */
  readonly ownCredential?: OwnCredential | undefined;
  /** How long a granted permission serves while the upstream does not answer, milliseconds; 10 minutes by default. */
  readonly permissionGraceMs?: number | undefined;
  /** Address ranges of proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** `tls`: nodes of a swarm must prove over TLS that their tokens are their own; others stay out. */
  readonly peers?: PeerRule | undefined;
  /** Address ranges of peers whose `ip=` the embedded tracker believes, besides loopback. */
  readonly announceFrom?: readonly string[] | undefined;
  /** How often each client may announce to the embedded tracker. */
  readonly announceLimit?: ClientLimit | undefined;
  /** Where the operator reads metrics; absent: nowhere. A default place that is taken is done without. */
  readonly admin?: (AdminOptions & { readonly isDefault?: boolean }) | undefined;
  /** What clients may take of the public port. */
  readonly bounds?: Partial<ServerBounds> | undefined;
  /** Asked for security reports; without one there are none. */
  readonly clair?: Clair | undefined;
  /** The receiver of notifications about changes in them. */
  readonly notify?: NotifyOptions | undefined;
  /** Of the program, for those who look at it. */
  readonly version?: string | undefined;
  /** Of this build, for `/metrics`: version, commit, Node. */
  readonly build?: Readonly<Record<string, string>> | undefined;
  readonly listener: ServeListener;
  /** The way to the upstream; stays the caller's to close. */
  readonly http: Http;
  /** Stops the service, as `close` does. */
  readonly signal?: AbortSignal | undefined;
}

/** `--notify` and what belongs to it. */
export interface NotifyOptions {
  /** The operator's own; may hold a secret. */
  readonly url: URL;
  /** Signs what is sent. */
  readonly key: Uint8Array;
  /** Changes of milder flaws are no news. */
  readonly atLeast: Severity;
  /** How often the report of each kept image is looked at again, milliseconds. */
  readonly everyMs: number;
}

/** The life of announce tokens and web seed URLs, unless `--token-ttl` says otherwise. */
const DEFAULT_TOKEN_TTL_SECONDS = 3600;
/** The longest life that `--token-ttl` takes: as long as `rotate-key` keeps old keys. */
const MAX_TOKEN_TTL_SECONDS = 30 * 86_400;
const SECRET_FILE = 'secret.json';

/** Where the images are. */
export type UpstreamPlace =
  | { readonly kind: 'layout'; readonly directory: string }
  | { readonly kind: 'registry'; readonly origin: URL };

/** @throws QuayctlError `usage` for what is neither, or would send credentials in the clear */
export function upstreamPlace({
  upstream,
  insecure = false,
}: Pick<TorrentServiceOptions, 'upstream' | 'insecure'>): UpstreamPlace {
  if (upstream.startsWith('oci:')) {
    const directory = upstream.slice('oci:'.length);
    if (directory === '') throw usage('--upstream oci:DIR: the directory is missing');
    return { kind: 'layout', directory };
  }
  const withScheme = upstream.includes('://') ? upstream : `${insecure ? 'http' : 'https'}://${upstream}`;
  const origin = URL.parse(withScheme);
  if (
    origin === null ||
    !/^https?:$/.test(origin.protocol) ||
    !/^\/?$/.test(origin.pathname) ||
    origin.search !== ''
  ) {
    throw usage('--upstream: expected https://HOST[:PORT] or oci:DIR');
  }
  if (origin.username !== '' || origin.password !== '') {
    throw usage('--upstream: a user name or password in the URL is not taken');
  }
  if (origin.protocol === 'http:' && !insecure && !isLoopback(origin.hostname)) {
    throw usage(
      `--upstream ${origin.origin}: plain HTTP to another host`,
      'use https://, or allow it with --insecure',
    );
  }
  return { kind: 'registry', origin };
}

/**
 * Base of the URLs in torrents, without a slash at its end; undefined for the address that is listened on.
 * @throws QuayctlError `usage`
 */
export function publicUrl({ publicUrl: given, listen }: TorrentServiceOptions): string | undefined {
  if (given !== undefined) return webUrl('--public-url', given).replace(/\/+$/, '');
  if (!isWildcard(listen.host)) return undefined;
  const hint = 'say how clients reach it: --public-url http://HOST:PORT';
  throw usage(`--listen ${listen.host} is not an address that clients can connect to`, hint);
}

/** @throws QuayctlError `usage` */
export function announceUrl({ announce }: TorrentServiceOptions): string | undefined {
  return announce === undefined ? undefined : webUrl('--announce', announce, ['http:', 'https:', 'udp:']);
}

/** @throws QuayctlError `usage` for one that nobody could use, or that could never be revoked */
export function tokenTtlSeconds({ tokenTtlSeconds: given }: TorrentServiceOptions): number {
  const seconds = Math.floor(given ?? DEFAULT_TOKEN_TTL_SECONDS);
  if (seconds >= 1 && seconds <= MAX_TOKEN_TTL_SECONDS) return seconds;
  throw usage('--token-ttl: expected 1s to 30d');
}

export function secretFile({ secretFile: given, dataDirectory }: TorrentServiceOptions): string {
  return given ?? defaultSecretFile(dataDirectory);
}

export function defaultSecretFile(dataDirectory: string): string {
  return join(dataDirectory, SECRET_FILE);
}

function webUrl(flag: string, text: string, protocols: readonly string[] = ['http:', 'https:']): string {
  const url = URL.parse(text);
  if (url !== null && protocols.includes(url.protocol) && url.hash === '' && url.username === '')
    return url.href;
  throw usage(`${flag}: expected a URL (${protocols.join(', ')})`);
}

function isWildcard(host: string): boolean {
  return host === '' || host === '0.0.0.0' || (isIP(host) === 6 && /^[0:]+$/.test(host));
}

function usage(message: string, hint?: string): QuayctlError {
  return new QuayctlError('usage', message, { hint });
}
