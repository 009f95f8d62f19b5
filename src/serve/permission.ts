import { createHmac, randomBytes } from 'node:crypto';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
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

/** What was granted is granted again for so long without a question: one pull asks for a blob several times. */
const FRESH_MS = 60_000;
const DEFAULT_GRACE_MS = 10 * 60_000;
/** Some 150 bytes each. */
const MAX_GRANTS = 50_000;

export interface PermissionOptions {
  readonly upstream: Upstream;
  /** How long a granted permission serves while the upstream does not answer, milliseconds; 10 minutes by default. */
  readonly graceMs?: number | undefined;
}

interface Grant {
  readonly size: number;
  /** Milliseconds on the clock of performance.now. */
  readonly at: number;
}

/**
 * Who may have which blob: the upstream decides, asked with the caller's own Authorization. Only what it granted is
 * remembered, under a keyed hash: no credential is kept.
 */
export class Permission {
  readonly #upstream: Upstream;
  readonly #graceMs: number;
  readonly #key = randomBytes(32);
  /** The latest at the end. */
  readonly #grants = new Map<string, Grant>();

  constructor({ upstream, graceMs = DEFAULT_GRACE_MS }: PermissionOptions) {
    this.#upstream = upstream;
    this.#graceMs = graceMs;
  }

  /** @throws QuayctlError `unreachable` where the upstream fails or does not answer, and nothing was granted lately */
  async mayRead(blob: BlobName, authorization: string | undefined, signal: AbortSignal): Promise<Verdict> {
    const name = this.#name(blob, authorization);
    const grant = this.#grants.get(name);
    const age = performance.now() - (grant?.at ?? -Infinity);
    if (grant !== undefined && age < FRESH_MS) return { kind: 'granted', size: grant.size };
    try {
      const verdict = await ask(this.#upstream, blob, authorization, signal);
      this.#note(name, verdict);
      return verdict;
    } catch (error) {
      signal.throwIfAborted();
      const mayStand = isQuayctlError(error, 'unreachable') && age < this.#graceMs;
      if (grant === undefined || !mayStand || this.#grants.get(name) === undefined) throw error;
      return { kind: 'granted', size: grant.size };
    }
  }

  #note(name: string, verdict: Verdict): void {
    this.#grants.delete(name);
    if (verdict.kind === 'refused') return;
    const [oldest] = this.#grants.keys();
    if (this.#grants.size >= MAX_GRANTS && oldest !== undefined) this.#grants.delete(oldest);
    this.#grants.set(name, { size: verdict.size, at: performance.now() });
  }

  #name({ repository, digest }: BlobName, authorization = ''): string {
    const fields = [repository, digest, authorization].join('\n');
    return createHmac('sha256', this.#key).update(fields).digest('base64');
  }
}

async function ask(
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
