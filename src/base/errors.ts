/**
 * Every error that a user may see. The `code` is stable (scripts read it from `--json`); the exit code is
 * derived from it in `cli/exit-codes.ts`; `cause` keeps the chain, `hint` says what to do.
 */
export type ErrorCode =
  | 'usage' // the command line, an IMAGE that does not parse included
  | 'unauthorized' // 401 and 403, always
  | 'not-found' // no such image, tag, blob or platform
  | 'engine' // the engine is missing, refused, died, or its disk is full
  | 'verification' // content does not match its digest or size
  | 'unreachable' // a registry, service or tracker does not answer
  | 'rate-limited' // 429 for longer than we wait
  | 'protocol' // a remote answered something that its protocol does not allow
  | 'limit' // foreign input larger than a named bound
  | 'unsupported' // valid, but nothing that quayctl handles (schema 1, sha512, ...)
  | 'no-torrent' // --skip-web-seed, and the service has no torrent of a blob
  | 'no-peers' // --skip-web-seed, and no peer has a piece
  | 'port' // no port free in the range that the user gave
  | 'disk-full' // our own disk
  | 'store' // the local store cannot be used (written by a future version, not writable, ...)
  | 'credentials' // a keychain, a credential helper or a credential file failed
  | 'no-report' // no service that was asked has a security report of the image
  | 'refused' // --max-severity or --fail-on: the image has worse flaws than are allowed
  | 'output' // stdout takes nothing more
  | 'timeout' // --timeout: the pull was not over by then
  | 'interrupted' // a signal ended the run
  | 'internal'; // a bug of ours

export interface QuayctlErrorOptions {
  readonly cause?: unknown;
  readonly hint?: string | undefined;
}

/** The one base class. Match by `code`, never by text. Messages hold no secret and name their object. */
export class QuayctlError extends Error {
  override readonly name = 'QuayctlError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: QuayctlErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** True for a QuayctlError with one of the given codes (with none given: for any). */
export function isQuayctlError(error: unknown, ...codes: ErrorCode[]): error is QuayctlError {
  return error instanceof QuayctlError && (codes.length === 0 || codes.includes(error.code));
}
