import type { ErrorCode } from '../base/errors.ts';

/** The exit status is derived from an error's code and from nothing else. */
const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  usage: 2,
  unauthorized: 3,
  'not-found': 4,
  engine: 5,
  verification: 6,
  refused: 7,
  unreachable: 1,
  'rate-limited': 1,
  protocol: 1,
  limit: 1,
  unsupported: 1,
  'no-torrent': 1,
  'no-peers': 1,
  'no-report': 1,
  port: 1,
  'disk-full': 1,
  store: 1,
  credentials: 1,
  output: 1,
  timeout: 1,
  interrupted: 130,
  internal: 1,
};

export function exitCodeOf(code: ErrorCode): number {
  return EXIT_CODES[code];
}
