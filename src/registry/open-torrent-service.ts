import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, isLoopback, readBody, type Http, type HttpAnswer } from '../base/http.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { shortDigest } from '../image/digest.ts';
import { MAX_TORRENT_BYTES } from '../metainfo/metainfo.ts';
import { unauthorized } from './authorizer.ts';
import type { OpenRepository } from './open-repository.ts';
import type { TorrentAnswer, TorrentService } from './repository.ts';

/** Every answer of a torrent service under /c1 carries it. */
const SERVICE_HEADER = 'quay-torrent';
const TORRENT_TYPE = 'application/x-bittorrent';
const MAX_PROGRESS_BYTES = 4096;
/** Asked to hold the answer, the service holds it this much longer at most. */
const ANSWER_MARGIN_MS = 15_000;

/** Hosts that serve no torrents: host and time only, for an hour. The caller keeps it in the store. */
export interface SilentHosts {
  isSilent(host: string): Promise<boolean>;
  remember(host: string): Promise<void>;
}

export interface TorrentServiceOptions {
  readonly http: Http;
  readonly repository: OpenRepository;
  /** The registry's host as in references, sent as `ns`. */
  readonly registry: string;
  readonly name: string;
  /** `--torrent-service`; absent: the registry itself. */
  readonly service: URL | undefined;
  readonly insecure: boolean;
  readonly sendCredentials: boolean;
  readonly silentHosts: SilentHosts;
}

/** Asks for torrents at the registry itself, or at `--torrent-service`. */
export function openTorrentService(options: TorrentServiceOptions): TorrentService {
  return { torrent: (blob, waitSeconds, signal) => ask(options, blob, waitSeconds, signal) };
}

async function ask(
  options: TorrentServiceOptions,
  blob: Descriptor,
  waitSeconds: number,
  signal: AbortSignal,
): Promise<TorrentAnswer> {
  const base = options.service ?? (await options.repository.requester.base(signal));
  if (options.service === undefined && (await options.silentHosts.isSilent(base.host))) {
    return { kind: 'none', reason: `${base.host} serves no torrents` };
  }
  const url = torrentUrl(base, options, blob, waitSeconds);
  for (let attempt = 0; ; attempt++) {
    const authorization = await authorizationFor(options, base, signal);
    const headers = {
      accept: TORRENT_TYPE,
      ...(authorization === undefined ? {} : { authorization }),
    };
    const timed = AbortSignal.any([signal, AbortSignal.timeout(waitSeconds * 1000 + ANSWER_MARGIN_MS)]);
    const answer = await request(options.http, url, headers, timed, signal);
    if (answer.statusCode === 401 && attempt < 2 && options.repository.authorizer.learn(answer, authorization)) {
      await dumpBody(answer);
      continue;
    }
    return read(answer, url, options, blob, authorization);
  }
}

function torrentUrl(base: URL, { registry, name }: TorrentServiceOptions, blob: Descriptor, waitSeconds: number): URL {
  const prefix = base.pathname.replace(/\/+$/, '');
  const url = new URL(`${prefix}/c1/torrent/${name}/blobs/${blob.digest}`, base);
  url.searchParams.set('ns', registry);
  if (waitSeconds > 0) url.searchParams.set('wait', String(Math.min(60, waitSeconds)));
  return url;
}

async function request(
  http: Http,
  url: URL,
  headers: Record<string, string>,
  timed: AbortSignal,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  try {
    return await http.request(url, { headers, signal: timed });
  } catch (error) {
    signal.throwIfAborted();
    if (isQuayctlError(error)) throw error;
    throw new QuayctlError('unreachable', `the torrent service ${url.host} does not answer`, { cause: error });
  }
}

/**
 * To the registry itself what the registry is shown. To another host only a Bearer token of this repository, never a
 * password (but with --send-credentials), and nothing at all in the clear.
 */
async function authorizationFor(
  { repository, service, insecure, sendCredentials }: TorrentServiceOptions,
  base: URL,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { authorizer, requester } = repository;
  const own = await requester.base(signal).catch((error: unknown) => {
    // A registry that is down must not keep the service from being asked.
    if (service !== undefined && isQuayctlError(error, 'unreachable')) return undefined;
    throw error;
  });
  if (own?.host === base.host && own.protocol === base.protocol) return authorizer.header(base, signal);
  if (base.protocol === 'http:' && !isLoopback(base.hostname) && !insecure) return undefined;
  if (authorizer.scheme === 'basic' && !sendCredentials) return undefined;
  return authorizer.header(base, signal);
}

async function read(
  answer: HttpAnswer,
  url: URL,
  { service, silentHosts, repository, registry }: TorrentServiceOptions,
  blob: Descriptor,
  authorization: string | undefined,
): Promise<TorrentAnswer> {
  const { statusCode: status } = answer;
  const type = headerOf(answer, 'content-type')?.split(';')[0]?.trim();
  const isService = headerOf(answer, SERVICE_HEADER) !== undefined || (status === 200 && type === TORRENT_TYPE);
  if (isService && status === 200) {
    return { kind: 'torrent', bytes: await readBody(answer, MAX_TORRENT_BYTES, url, 'its torrent') };
  }
  if (isService && status === 202) return progress(await readBody(answer, MAX_PROGRESS_BYTES, url, 'its answer'), url);
  await dumpBody(answer);
  if (isService && (status === 401 || status === 403)) {
    throw refusal(url, registry, blob, repository.authorizer.credential !== undefined, authorization, service);
  }
  if (status >= 500 && status !== 501) {
    throw new QuayctlError('unreachable', `the torrent service ${url.host} answers ${status}`);
  }
  if (isService) return { kind: 'none', reason: `${url.host} has no torrent of it (${status})` };
  if (service === undefined) await silentHosts.remember(url.host);
  return { kind: 'none', reason: `${url.host} serves no torrents` };
}

function refusal(
  url: URL,
  registry: string,
  blob: Descriptor,
  hasCredential: boolean,
  authorization: string | undefined,
  service: URL | undefined,
): QuayctlError {
  const what = `the torrent of ${shortDigest(blob.digest)}`;
  if (service !== undefined && hasCredential && authorization === undefined) {
    return new QuayctlError('unauthorized', `${url.host} wants to know who asks for ${what}`, {
      hint: `--send-credentials gives it the password for ${registry}`,
    });
  }
  return unauthorized(registry, what, hasCredential);
}

/** 202: {size, hashed, etaSeconds}. */
function progress(bytes: Buffer, url: URL): TorrentAnswer {
  let json: Record<string, unknown> = {};
  try {
    json = Object(JSON.parse(bytes.toString('utf8'))) as Record<string, unknown>;
  } catch (cause) {
    throw new QuayctlError('protocol', `${url.host} tells no progress of its hashing`, { cause });
  }
  const number = (name: string): number => {
    const value = json[name];
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0;
  };
  return {
    kind: 'hashing',
    size: number('size'),
    hashed: number('hashed'),
    etaSeconds: number('etaSeconds'),
    retryAfterSeconds: 1,
  };
}
