import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { dumpBody, headerOf, readBody, type HttpAnswer } from '../http/http.ts';
import { MAX_TORRENT_BYTES, notedAsFromElsewhere } from '../metainfo/metainfo.ts';
import { readRefusal } from './failures.ts';
import type { TorrentAnswer } from './repository.ts';

/** Every answer of a torrent service under /c1 carries it. */
const SERVICE_HEADER = 'quay-torrent';
/** `cached`: the service has the blob itself. */
const BLOB_HEADER = 'quay-blob';
const TORRENT_TYPE = 'application/x-bittorrent';
const MAX_PROGRESS_BYTES = 4096;
/** Between two questions, where the service does not say. Seconds. */
const RETRY_AFTER_SECONDS = 1;
const LONGEST_RETRY_AFTER_SECONDS = 60;

export type ServiceAnswer =
  | TorrentAnswer
  /** 401 or 403. */
  | { readonly kind: 'refused' }
  /** No torrent service; `isPassing` where nothing may be concluded for the next hour. */
  | { readonly kind: 'no-service'; readonly isPassing: boolean };

/**
 * What a host says to the request for a torrent (docs/protocol.md, "The torrent of a blob"). An answer without the
 * service's header that is not a torrent means that the host is no torrent service.
 * @param isLocal whether it comes from this machine: only then may its trackers be on it
 * @throws QuayctlError `unreachable` for 5xx, `rate-limited`, `protocol`, `limit`
 */
export async function readTorrentAnswer(
  answer: HttpAnswer,
  url: URL,
  isLocal: boolean,
  signal: AbortSignal,
): Promise<ServiceAnswer> {
  const { statusCode: status } = answer;
  const type = headerOf(answer, 'content-type')?.split(';')[0]?.trim().toLowerCase();
  const isTorrent = status === 200 && type === TORRENT_TYPE;
  const isService = headerOf(answer, SERVICE_HEADER) !== undefined;
  if (isTorrent) {
    const bound = { maxBytes: MAX_TORRENT_BYTES, url, what: 'its torrent', signal };
    const bytes = await readBody(answer, bound);
    const isCached = isService && headerOf(answer, BLOB_HEADER) === 'cached';
    return { kind: 'torrent', bytes: isLocal ? bytes : noted(bytes), ...(isCached ? { isCached } : {}) };
  }
  if (isService && status === 202) {
    const bound = { maxBytes: MAX_PROGRESS_BYTES, url, what: 'its answer', signal };
    return parseProgress(await readBody(answer, bound), headerOf(answer, 'retry-after'), url);
  }
  const refusal = isService ? await readRefusal(answer, url, signal) : await dumpBody(answer);
  if (status === 429) throw new QuayctlError('rate-limited', `${url.host} limits our requests for torrents`);
  if (status === 501)
    return isService ? none(url, status, refusal?.message) : { kind: 'no-service', isPassing: true };
  if (status >= 500)
    throw new QuayctlError('unreachable', `the torrent service ${url.host} answers ${status}`);
  if (!isService) return { kind: 'no-service', isPassing: false };
  if (status === 401 || status === 403) return { kind: 'refused' };
  if (status === 404 || status === 405 || status === 406) return none(url, status, refusal?.message);
  throw new QuayctlError('protocol', `the torrent service ${url.host} answers ${status}`);
}

/** Bytes that are not a torrent stay as they are; their reader reports that. */
function noted(bytes: Uint8Array): Uint8Array {
  try {
    return notedAsFromElsewhere(bytes);
  } catch (error) {
    if (isQuayctlError(error)) return bytes;
    throw error;
  }
}

function none(url: URL, status: number, message = ''): TorrentAnswer {
  const reasons: Readonly<Record<number, string>> = {
    404: 'knows no such blob',
    405: 'has no torrents of this repository',
    406: 'has not made it yet',
    501: 'cannot make a torrent of it',
  };
  const why = message === '' ? '' : ` (${message})`;
  const reason = `${url.host} ${reasons[status] ?? `answers ${status}`}${why}`;
  return { kind: 'none', reason, isService: true };
}

/** 202: {size, hashed, etaSeconds[, follow]}. @throws QuayctlError `protocol` */
export function parseProgress(bytes: Buffer, retryAfter: string | undefined, url: URL): TorrentAnswer {
  let json: Record<string, unknown>;
  try {
    json = Object(JSON.parse(bytes.toString('utf8'))) as Record<string, unknown>;
  } catch {
    throw new QuayctlError('protocol', `${url.host} answers 202 without the progress of its hashing`);
  }
  const count = (name: string): number => {
    const value = json[name];
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0;
  };
  const seconds = /^\d{1,3}$/.test(retryAfter ?? '') ? Number(retryAfter) : RETRY_AFTER_SECONDS;
  return {
    kind: 'hashing',
    size: count('size'),
    hashed: count('hashed'),
    etaSeconds: count('etaSeconds'),
    retryAfterSeconds: Math.min(LONGEST_RETRY_AFTER_SECONDS, Math.max(RETRY_AFTER_SECONDS, seconds)),
    ...(json['follow'] === true ? { isFollowed: true } : {}),
  };
}
