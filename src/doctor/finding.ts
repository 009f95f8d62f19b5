import { isQuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { isBroken } from '../http/network-error.ts';

/** What is looked at, in this order; scripts read these names from `--json`. */
export type Check =
  | 'credential'
  | 'registry'
  | 'tls'
  | 'clock'
  | 'permission'
  | 'service'
  | 'torrent'
  | 'tracker'
  | 'port'
  | 'peers'
  | 'speed'
  | 'store'
  | 'engine'
  | 'mirror';

/** `skipped`: it cannot be looked at, because of what was found before, or from here. */
export type Status = 'ok' | 'warning' | 'failed' | 'skipped';

/** One line of `quayctl doctor`. Holds no secret. */
export interface Finding {
  readonly check: Check;
  readonly status: Status;
  readonly message: string;
  /** What the user can do. */
  readonly hint?: string | undefined;
}

/** Is told each finding as soon as there is one. */
export type Report = (check: Check, status: Status, message: string, hint?: string) => void;

/** Reports a failure in the words of its error. @throws what is no QuayctlError: a bug of ours, or the end of the run */
export function reportFailure(
  report: Report,
  check: Check,
  error: unknown,
  status: 'failed' | 'warning' = 'failed',
): void {
  if (!isQuayctlError(error) || error.code === 'interrupted') throw error;
  report(check, status, redact(error.message), error.hint === undefined ? undefined : redact(error.hint));
}

/** As `reportFailure`, for the first question to a host: where the error has no hint, it says what may be wrong. */
export function reportSilence(
  report: Report,
  check: Check,
  { protocol, host }: URL,
  error: unknown,
  status: 'failed' | 'warning' = 'failed',
): void {
  const mayBeTls = protocol === 'http:' && isBroken(error);
  const advice = mayBeTls
    ? `it may speak HTTPS: try https://${host}`
    : 'is it running there, at this port? do firewalls let it through?';
  const advised: Report = (each, found, message, hint = advice) => report(each, found, message, hint);
  reportFailure(advised, check, error, status);
}
