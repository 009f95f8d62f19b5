import { createHmac, randomBytes } from 'node:crypto';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { isRedirect } from '../http/redirect.ts';
import { discard, headerOf, isSuccess, type Upstream } from './upstream.ts';
import type { AnswerHeaders, UpstreamAnswer } from '../http-server/request-context.ts';
import { digestOf } from '../image/digest.ts';
import type { BlobName } from '../http-server/path.ts';

/** Whether a caller may have a blob, as the upstream says. */
export type Verdict =
  | Granted
  /** To be handed on: 401 with its challenge, 403, 404, 429. */
  | { readonly kind: 'refused'; readonly status: number; readonly headers: AnswerHeaders };

export type Refusal = Verdict & { readonly kind: 'refused' };

interface Granted {
  readonly kind: 'granted';
  /** Bytes. */
  readonly size: number;
}

/** Something that a caller was given. */
export interface Grant {
  readonly repository: string;
  /** What of the repository: a digest, or a name that no digest has. */
  readonly object: string;
  readonly authorization: string | undefined;
}

/** Statuses that are the caller's business; any other failure is the upstream's. */
export const HANDED_ON: ReadonlySet<number> = new Set([401, 403, 404, 429]);
const HANDED_ON_HEADERS = ['www-authenticate', 'retry-after'];

/**
 * A permission that the upstream gave is used for this long without asking again, since one pull asks for a blob
 * several times.
 */
const FRESH_MS = 60_000;
/** A caller that has such a permission waits this long for an upstream that hangs: as long as a pull may stall. */
const PATIENCE_MS = 5_000;
/** How long a permission counts while the upstream does not answer, unless `--permission-grace` says otherwise. */
const DEFAULT_GRACE_MS = 10 * 60_000;
/** Permissions that are remembered, about 150 bytes each. */
const MAX_ANSWERS = 50_000;

export interface PermissionOptions {
  readonly upstream: Upstream;
  /** How long a granted permission serves while the upstream does not answer, milliseconds; 10 minutes by default. */
  readonly graceMs?: number | undefined;
  /**
   * How long a refusal is remembered, milliseconds; not at all by default: who has just been given a right has it. The
   * service itself, which is refused for every private blob where it has no credential, need not ask each time.
   */
  readonly refusalsMs?: number | undefined;
}

interface Answer {
  readonly verdict: Verdict;
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
  readonly #refusalsMs: number;
  readonly #key = randomBytes(32);
  /** When anybody was granted anything last, on the clock of performance.now. */
  #grantedAt = -Infinity;
  /** Whether a HEAD of this upstream has granted a blob. */
  #headGrants = false;
  /** The latest at the end. */
  readonly #answers = new Map<string, Answer>();
  /** When a caller was last told 401 or 403 about a repository. */
  readonly #deniedAt = new Map<string, number>();

  constructor({ upstream, graceMs = DEFAULT_GRACE_MS, refusalsMs = 0 }: PermissionOptions) {
    this.#upstream = upstream;
    this.#graceMs = graceMs;
    this.#refusalsMs = refusalsMs;
  }

  /** @throws QuayctlError `unreachable` where the upstream fails or does not answer, and nothing was granted lately */
  async mayRead(blob: BlobName, authorization: string | undefined, signal: AbortSignal): Promise<Verdict> {
    const { caller, name } = this.#namesOf({ ...blob, object: blob.digest, authorization });
    const known = this.#answers.get(name);
    const age = performance.now() - (known?.at ?? -Infinity);
    const isGranted = known?.verdict.kind === 'granted' && !this.#isRevoked(caller, known.at);
    const isFresh = age < (known?.verdict.kind === 'granted' ? FRESH_MS : this.#refusalsMs);
    if (known !== undefined && isFresh && (isGranted || known.verdict.kind === 'refused'))
      return known.verdict;
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const hasGrace = isGranted && age < this.#graceMs;
    try {
      const either = hasGrace ? AbortSignal.any([signal, patience]) : signal;
      const verdict = await this.#ask(blob, authorization, either);
      remember(this.#answers, name, { verdict, at: performance.now() });
      if (verdict.kind === 'granted') this.#grantedAt = performance.now();
      if (verdict.kind === 'refused' && isDenied(verdict.status))
        remember(this.#deniedAt, caller, performance.now());
      return verdict;
    } catch (error) {
      signal.throwIfAborted();
      // Another question may have been answered meanwhile.
      const isGone = patience.aborted || isQuayctlError(error, 'unreachable');
      const standing = isGone ? this.#standing(caller, name) : undefined;
      if (standing !== undefined) return standing;
      throw error;
    }
  }

  /**
   * The upstream has just given a caller something.
   * @param size of a blob, bytes; 0 for what is none
   */
  grant(grant: Grant, size = 0): void {
    const verdict: Granted = { kind: 'granted', size };
    remember(this.#answers, this.#namesOf(grant).name, { verdict, at: performance.now() });
    this.#grantedAt = performance.now();
  }

  /** Whether it was granted so short a time ago that the upstream need not be asked again. */
  isFresh(grant: Grant): boolean {
    const { caller, name } = this.#namesOf(grant);
    const { verdict, at } = this.#answers.get(name) ?? NEVER;
    const isOld = performance.now() - at >= FRESH_MS;
    return verdict?.kind === 'granted' && !isOld && !this.#isRevoked(caller, at);
  }

  /** The upstream has just answered a caller with 401 or 403: the grace ends for all of the repository. */
  deny(grant: Omit<Grant, 'object'>): void {
    remember(this.#deniedAt, this.#namesOf({ ...grant, object: '' }).caller, performance.now());
  }

  /** What the upstream said to a caller's question about a manifest. */
  noteRefusal(repository: string, authorization: string | undefined, { status }: Refusal): void {
    if (isDenied(status)) this.deny({ repository, authorization });
  }

  /** Whether anybody was granted anything within the grace. */
  get hasStanding(): boolean {
    return performance.now() - this.#grantedAt < this.#graceMs;
  }

  /** Whether what was granted serves while the upstream does not answer. */
  stands(grant: Grant): boolean {
    return this.standing(grant) !== undefined;
  }

  /** What was granted within the grace; it serves while the upstream does not answer. */
  standing(grant: Grant): Granted | undefined {
    const { caller, name } = this.#namesOf(grant);
    return this.#standing(caller, name);
  }

  /**
   * Asks with HEAD. Where that does not tell (Amazon's public registry answers 401 to every HEAD, caches 404 or 405, others
   * lead to storage) one byte is read, as a pull reads it. Where HEAD has granted something before, its 401 and 403 are
   * meant as such.
   */
  async #ask(blob: BlobName, authorization: string | undefined, signal: AbortSignal): Promise<Verdict> {
    const resource = { kind: 'blob', ...blob } as const;
    const head = await this.#upstream.ask({ method: 'HEAD', resource, authorization }, signal);
    discard(head);
    const { status } = head;
    if (status === 429 || (isDenied(status) && this.#headGrants)) return refused(head);
    const size = isSuccess(status) && !isPage(head) ? headerOf(head, 'content-length') : undefined;
    // Some servers say 0 of what they do not count.
    if (size !== undefined && (Number(size) > 0 || blob.digest === EMPTY_DIGEST)) {
      this.#headGrants = true;
      return { kind: 'granted', size: byteCount(size, blob) };
    }
    if (status >= 500 && status !== 501) throw failed(head, blob);
    const question = { method: 'GET', resource, authorization, follow: true } as const;
    const part = await this.#upstream.ask({ ...question, range: 'bytes=0-0' }, signal);
    discard(part);
    if (part.status === 416 && blob.digest === EMPTY_DIGEST) return { kind: 'granted', size: 0 };
    if (part.status !== 416) return verdictOf(part, head, blob);
    // Some storage answers so to every range: the head of the whole tells, too.
    const whole = await this.#upstream.ask(question, signal);
    discard(whole);
    return verdictOf(whole, head, blob);
  }

  #standing(caller: string, name: string): Granted | undefined {
    const { verdict, at } = this.#answers.get(name) ?? NEVER;
    const isOld = performance.now() - at >= this.#graceMs;
    return verdict?.kind === 'granted' && !isOld && !this.#isRevoked(caller, at) ? verdict : undefined;
  }

  #isRevoked(caller: string, grantedAt: number): boolean {
    return grantedAt <= (this.#deniedAt.get(caller) ?? -Infinity);
  }

  #namesOf({ repository, object, authorization }: Grant): { readonly caller: string; readonly name: string } {
    const caller = this.#keyed(repository, authorization ?? '');
    return { caller, name: this.#keyed(object, caller) };
  }

  /** Without the key nobody can tell from memory, or from a dump of it, who asked. */
  #keyed(...fields: readonly string[]): string {
    return createHmac('sha256', this.#key).update(fields.join('\n')).digest('base64');
  }
}

const NEVER = { verdict: undefined, at: -Infinity };

export function isDenied(status: number): boolean {
  return status === 401 || status === 403;
}

function remember<T>(answers: Map<string, T>, name: string, answer: T): void {
  answers.delete(name);
  const [oldest] = answers.keys();
  if (answers.size >= MAX_ANSWERS && oldest !== undefined) answers.delete(oldest);
  answers.set(name, answer);
}

/** Of nothing: there is no first byte of it. */
const EMPTY_DIGEST = digestOf(new Uint8Array());

/** @param head what HEAD was answered before */
function verdictOf(answer: UpstreamAnswer, head: UpstreamAnswer, blob: BlobName): Verdict {
  if (answer.status === 206) {
    return { kind: 'granted', size: byteCount(headerOf(answer, 'content-range')?.split('/')[1] ?? '', blob) };
  }
  if (isSuccess(answer.status)) {
    // A gateway that leads strangers to its login page has not granted anything.
    const isSame = headerOf(answer, 'docker-content-digest') === blob.digest;
    if (isPage(answer) && !isSame) return { kind: 'refused', status: 403, headers: {} };
    return { kind: 'granted', size: byteCount(headerOf(answer, 'content-length') ?? '', blob) };
  }
  if (isRedirect(head.status) || !HANDED_ON.has(answer.status)) throw failed(answer, blob);
  return refused(HANDED_ON.has(head.status) ? head : answer);
}

function isPage(answer: UpstreamAnswer): boolean {
  return /^(?:text\/(?:html|plain)|application\/(?:json|xhtml))/i.test(
    headerOf(answer, 'content-type') ?? '',
  );
}

function failed({ status }: UpstreamAnswer, { digest }: BlobName): QuayctlError {
  return new QuayctlError('unreachable', `upstream: status ${status} for blob ${digest}`);
}

function byteCount(text: string, { digest }: BlobName): number {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(count)) return count;
  throw new QuayctlError('protocol', `upstream: does not tell the size of blob ${digest}`);
}

/** A refusal of the upstream's, as it is handed on. */
export function refused(answer: UpstreamAnswer): Refusal {
  const headers = Object.entries(answer.headers).filter(([name]) => HANDED_ON_HEADERS.includes(name));
  return { kind: 'refused', status: answer.status, headers: Object.fromEntries(headers) };
}
