import { QuayctlError } from '../base/errors.ts';
import {
  discard,
  headerOf,
  isRedirect,
  isSuccess,
  type AnswerHeaders,
  type BlobName,
  type Upstream,
  type UpstreamAnswer,
} from './upstream/upstream.ts';

/** Whether a caller may have a blob, as the upstream says. */
export type Verdict =
  | { readonly kind: 'granted'; /** Bytes. */ readonly size: number }
  /** To be handed on: 401 with its challenge, 403, 404, 429. */
  | { readonly kind: 'refused'; readonly status: number; readonly headers: AnswerHeaders };

/** Statuses that are the caller's business; any other failure is the upstream's. */
const HANDED_ON = new Set([401, 403, 404, 429]);
const HANDED_ON_HEADERS = ['www-authenticate', 'retry-after'];

/**
 * Asks the upstream, with the caller's own Authorization, whether it would give him the blob.
 * @throws QuayctlError `unreachable` where the upstream fails or does not answer
 */
export async function mayRead(
  upstream: Upstream,
  blob: BlobName,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<Verdict> {
  const resource = { kind: 'blob', ...blob } as const;
  const answer = await upstream.ask({ method: 'HEAD', resource, authorization }, signal);
  discard(answer);
  if (HANDED_ON.has(answer.status)) return refused(answer);
  if (!isSuccess(answer.status) && !isRedirect(answer.status)) {
    throw new QuayctlError('unreachable', `upstream: status ${answer.status} for blob ${blob.digest}`);
  }
  const size = isSuccess(answer.status) ? headerOf(answer, 'content-length') : undefined;
  if (size !== undefined) return { kind: 'granted', size: byteCount(size, blob) };
  return { kind: 'granted', size: await sizeFromStorage(upstream, blob, authorization, signal) };
}

/** Storage URLs are often signed for GET only: one byte tells the size too. */
async function sizeFromStorage(
  upstream: Upstream,
  blob: BlobName,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<number> {
  const resource = { kind: 'blob', ...blob } as const;
  const question = { method: 'GET', resource, authorization, range: 'bytes=0-0', follow: true } as const;
  const answer = await upstream.ask(question, signal);
  discard(answer);
  if (answer.status === 206) {
    return byteCount(headerOf(answer, 'content-range')?.split('/')[1] ?? '', blob);
  }
  // No first byte to be had: the blob is empty.
  if (answer.status === 416) return 0;
  if (isSuccess(answer.status)) return byteCount(headerOf(answer, 'content-length') ?? '', blob);
  throw new QuayctlError(
    'unreachable',
    `upstream: status ${answer.status} for the size of blob ${blob.digest}`,
  );
}

function byteCount(text: string, { digest }: BlobName): number {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(count)) return count;
  throw new QuayctlError('protocol', `upstream: does not tell the size of blob ${digest}`);
}

function refused(answer: UpstreamAnswer): Verdict {
  const headers = Object.entries(answer.headers).filter(([name]) => HANDED_ON_HEADERS.includes(name));
  return { kind: 'refused', status: answer.status, headers: Object.fromEntries(headers) };
}
