import type { Readable } from 'node:stream';
import type { Digest } from '../../image/digest.ts';

/** One blob of one repository. */
export interface BlobName {
  readonly repository: string;
  readonly digest: Digest;
}

/** What of the distribution API is passed through (OCI distribution-spec, "Endpoints"), all of it read-only. */
export type Resource =
  | { readonly kind: 'base' }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly selector: string }
  | ({ readonly kind: 'blob' } & BlobName);

export interface UpstreamRequest {
  readonly method: 'GET' | 'HEAD';
  readonly resource: Resource;
  /** The caller's own, or absent for an anonymous question. Used for this one request and forgotten. */
  readonly authorization?: string | undefined;
  readonly accept?: string | undefined;
  readonly range?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
  /** Of `tags`: `n=...&last=...`, as it came. */
  readonly query?: string | undefined;
  /** Redirects to storage are followed, without Authorization; else they are the answer. */
  readonly follow?: boolean;
}

/** Header names are lower-case; only headers that may be handed on to a caller stand here. */
export type AnswerHeaders = Readonly<Record<string, string | readonly string[]>>;

export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: AnswerHeaders;
  /** Must be read or destroyed. Empty for HEAD. */
  readonly body: Readable;
}

/** Where the images are: a registry, or an OCI layout on disk. */
export interface Upstream {
  /** Names by which a reference may mean this upstream: `registry.example:5000`; none for a layout. */
  readonly hosts: readonly string[];
  /**
   * Any answer of the upstream is an answer, 401 and 500 included.
   * @throws QuayctlError `unreachable` where there is none; the signal's reason
   */
  ask(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamAnswer>;
}

/** First value of a header, or undefined. */
export function headerOf(answer: UpstreamAnswer, name: string): string | undefined {
  const value = answer.headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

/** Lets an answer's body go unread. */
export function discard({ body }: UpstreamAnswer): void {
  // An HTTP body that is not read to its end says so by an error.
  body.on('error', () => undefined);
  body.destroy();
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** The redirects that keep GET a GET and name a place (RFC 9110 section 15.4). */
export function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}
