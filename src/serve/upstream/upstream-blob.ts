import { QuayctlError } from '../../base/errors.ts';
import type { HttpAnswer } from '../../http/http.ts';
import type { BlobName } from '../../http-server/path.ts';
import { shortDigest } from '../../image/digest.ts';
import { readResuming } from '../../registry/resuming.ts';
import { withPatience } from '../../registry/retry-after.ts';
import { discard, isSuccess, type Upstream } from '../../upstream/upstream.ts';

/** What is read of a blob, and as whom. */
export interface UpstreamBlobRequest extends BlobName {
  /** The size of the whole blob, bytes. */
  readonly size: number;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** The caller's, where the service reads with a caller's right. It goes into the requests and is kept nowhere. */
  readonly authorization?: string | undefined;
}

/**
 * Bytes `start` to `end` of a blob of the upstream, in order, as the service reads them for itself: with the same
 * patience as a client (429 and 5xx are waited out), and resumed where a transfer broke off. They are not verified.
 * @throws QuayctlError `unauthorized`, `not-found`, `unreachable`, `rate-limited`; `verification` for another size than
 *   `size`; `protocol`; the signal's reason
 */
export function readUpstreamBlob(
  upstream: Upstream,
  { repository, digest, size, start, end, authorization }: UpstreamBlobRequest,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  // For messages: which of the upstream's hosts gave an answer is its own business.
  const url = new URL(`https://${upstream.hosts[0] ?? 'layout'}/`);
  const resource = { kind: 'blob', repository, digest } as const;
  const ask = async (range: string | undefined): Promise<HttpAnswer> => {
    const answer = await upstream.ask(
      { method: 'GET', resource, authorization, follow: true, ...(range === undefined ? {} : { range }) },
      signal,
    );
    return { statusCode: answer.status, headers: answer.headers, body: answer.body };
  };
  return readResuming(
    { mediaType: '', digest, size },
    { start, end },
    {
      what: `blob ${shortDigest(digest)} of ${repository}`,
      signal,
      open: async ({ headers = {} }) => {
        const answer = await withPatience(url, signal, () => ask(headers['range']));
        const { statusCode } = answer;
        if (isSuccess(statusCode) || statusCode === 416) return { answer, url, denyLocal: false };
        discard(answer);
        const isRefused = statusCode === 401 || statusCode === 403;
        const code = isRefused ? 'unauthorized' : statusCode === 404 ? 'not-found' : 'unreachable';
        throw new QuayctlError(code, `upstream: status ${statusCode} for blob ${digest}`, {
          // Not "may be gone a moment later": this is an answer.
          cause: new Error(`status ${statusCode}`),
        });
      },
    },
  );
}
