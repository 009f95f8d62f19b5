import { access, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { QuayctlError } from '../base/errors.ts';
import { assertOwn } from '../base/ownership.ts';
import { Http } from '../http/http.ts';
import { formatBytes, parseDuration, parseSize } from '../base/units.ts';
import {
  startTorrentService,
  type ServeEvent,
  type TorrentServiceOptions,
} from '../serve/torrent-service.ts';
import { defaultSecretFile } from '../serve/options.ts';
import { prepareTorrents, type PrepareOptions } from '../serve/prepare.ts';
import { rotateKey } from '../serve/tokens/secret-file.ts';
import type { OwnCredential } from '../upstream/service-credential-upstream.ts';
import { adminOptions } from './admin-flags.ts';
import { describeBuild } from './build-facts.ts';
import { becomeOwnerOf } from './become-owner.ts';
import { serviceCredential } from './credentials.ts';
import { hostAndPort, named } from './flags.ts';
import { notifyOptions, openClair } from './open-clair.ts';
import { parseLogFormat } from './log-format.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import type { RawNotifyFlags } from './report-flags.ts';
import { serveLine } from './serve-log.ts';
import { followFiles } from './serve-reload.ts';
import { xdgDirectory, type Session } from './session.ts';

/** Beside the service's own default, 7070; 7071 is the mirror's. */
const DEFAULT_ADMIN_LISTEN = '127.0.0.1:7072';

/** `quayctl serve`'s flags as commander hands them over. */
export interface RawServeFlags extends RawNotifyFlags {
  readonly upstream?: string;
  readonly listen: string;
  readonly publicUrl?: string;
  readonly announce?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly data?: string;
  readonly cacheSize?: string;
  readonly tokenTtl: string;
  readonly insecure?: boolean;
  readonly upstreamAuth?: string;
  readonly permissionGrace: string;
  readonly trustedProxy?: readonly string[];
  readonly announceFrom?: readonly string[];
  readonly peers: string;
  readonly secretFile?: string;
  readonly alias?: readonly string[];
  readonly adminListen?: string;
  readonly adminTokenFile?: string;
  readonly debug?: boolean;
  readonly logFormat: string;
}

/** Serves until a signal ends it; that is its good end. @throws QuayctlError `usage`, `port`, `store`, ... */
export async function runServe(flags: RawServeFlags, session: Session): Promise<void> {
  const { terminal, signal } = session;
  await withUpstream(flags, session, async (upstream) => {
    const service = await startTorrentService({
      ...upstream,
      listen: hostAndPort('--listen', flags.listen),
      publicUrl: flags.publicUrl,
      announce: flags.announce,
      tls: await keyPair(flags),
      secretFile: secretPath(flags),
      cacheBytes:
        flags.cacheSize === undefined ? undefined : named('--cache-size', flags.cacheSize, parseSize),
      tokenTtlSeconds: named('--token-ttl', flags.tokenTtl, parseDuration) / 1000,
      permissionGraceMs: named('--permission-grace', flags.permissionGrace, parseDuration),
      trustedProxies: flags.trustedProxy,
      announceFrom: flags.announceFrom,
      peers: peerRule(flags.peers),
      version: session.version,
      admin: await adminOptions(flags, DEFAULT_ADMIN_LISTEN),
      build: describeBuild(),
      clair: await openClair(flags, upstream.http),
      notify: await notifyOptions(flags),
    });
    terminal.out(`${service.publicUrl}\n`);
    const stopFollowing = followFiles(service, {
      files: [flags.tlsCert, flags.tlsKey].filter((file) => file !== undefined),
      tls: () => keyPair(flags),
      onFailure: (message) => upstream.listener({ kind: 'warning', message }),
      onHangup: session.onHangup,
    });
    if (!signal.aborted) {
      await new Promise((end) => {
        signal.addEventListener('abort', end, { once: true });
      });
    }
    stopFollowing();
    await service.close();
  });
}

/** `serve prepare`: torrents ahead of time. @throws QuayctlError `usage`, `not-found`, `unauthorized`, ... */
export async function runPrepare(
  images: readonly string[],
  flags: RawServeFlags,
  session: Session,
): Promise<void> {
  await becomeOwnerOf(dataDirectory(flags, session));
  await withUpstream(flags, session, async (upstream) => {
    for (const { image, blobs, bytes } of await prepareTorrents(images, upstream, session.signal)) {
      session.terminal.out(`${image}: ${blobs} blobs, ${formatBytes(bytes)}\n`);
    }
  });
}

/** `serve rotate-key`: running services take the key up by themselves. @throws QuayctlError `store` */
export async function runRotateKey(flags: RawServeFlags, session: Session): Promise<void> {
  await becomeOwnerOf(secretPath(flags) ?? dataDirectory(flags, session));
  await assertOwnPlaces(flags, session);
  const path = secretPath(flags) ?? defaultSecretFile(dataDirectory(flags, session));
  const { kid } = await rotateKey(path);
  session.terminal.out(`${kid}\n`);
  session.terminal.err(
    'The new key is in the key set now and signs in an hour, once trackers have fetched it.\n',
  );
}

/** Keys, piece hashes and images of this user alone are believed. @throws QuayctlError `store` */
async function assertOwnPlaces(flags: RawServeFlags, session: Session): Promise<void> {
  const { uid } = session;
  const directory = dataDirectory(flags, session);
  const secret = secretPath(flags) ?? defaultSecretFile(directory);
  await assertOwn(directory, { uid, what: 'the data directory' });
  await assertOwn(secret, { uid, what: 'the secret file' });
}

async function withUpstream(
  flags: RawServeFlags,
  session: Session,
  work: (options: PrepareOptions) => Promise<void>,
): Promise<void> {
  if (flags.upstream === undefined) {
    throw new QuayctlError('usage', '--upstream URL or --upstream oci:DIR is missing');
  }
  await assertOwnPlaces(flags, session);
  const format = parseLogFormat(flags.logFormat);
  const listener = (event: ServeEvent): void => {
    const line = serveLine(event, flags.debug ?? false, format);
    if (line !== undefined) session.terminal.err(`${line}\n`);
  };
  const http = new Http({ env: session.env, certsDirectory: CERTS_DIRECTORY });
  try {
    await work({
      upstream: flags.upstream,
      insecure: flags.insecure,
      aliases: flags.alias,
      ownCredential: await ownCredential(flags, session, (message) => listener({ kind: 'warning', message })),
      dataDirectory: dataDirectory(flags, session),
      http,
      listener,
    });
  } finally {
    await http.close();
  }
}

async function ownCredential(
  { upstreamAuth }: RawServeFlags,
  session: Session,
  onWarning: (message: string) => void,
): Promise<OwnCredential> {
  const file = upstreamAuth === undefined ? undefined : resolve(upstreamAuth);
  // A name that is spelled wrong would make a service that reads nothing, and says so only at the first pull.
  if (file !== undefined) {
    await access(file).catch((cause: unknown) => {
      throw new QuayctlError('usage', `--upstream-auth: cannot read ${file}`, { cause });
    });
  }
  return serviceCredential(file, session, onWarning);
}

function dataDirectory({ data }: RawServeFlags, session: Session): string {
  return resolve(data ?? xdgDirectory(session, 'XDG_DATA_HOME', '.local/share'));
}

function secretPath({ secretFile }: RawServeFlags): string | undefined {
  return secretFile === undefined ? undefined : resolve(secretFile);
}

/** @throws QuayctlError `usage` */
function peerRule(text: string): TorrentServiceOptions['peers'] {
  if (text === 'any') return undefined;
  if (text === 'tls') return 'tls';
  throw new QuayctlError('usage', `--peers: expected any or tls, got ${JSON.stringify(text)}`);
}

async function keyPair({
  tlsCert,
  tlsKey,
}: RawServeFlags): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new QuayctlError('usage', '--tls-cert and --tls-key belong together');
  }
  const read = (flag: string, path: string): Promise<Buffer> =>
    readFile(path).catch((cause: unknown) => {
      throw new QuayctlError('usage', `${flag}: cannot read ${path}`, { cause });
    });
  return { cert: await read('--tls-cert', tlsCert), key: await read('--tls-key', tlsKey) };
}
