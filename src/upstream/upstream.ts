import type { UpstreamAnswer } from '../http-server/request-context.ts';
import type { Resource } from '../http-server/path.ts';

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
export function discard({ body }: Pick<UpstreamAnswer, 'body'>): void {
  // An HTTP body that is not read to its end says so by an error.
  body.on('error', () => undefined);
  body.destroy();
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}
