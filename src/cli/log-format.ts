import { redact } from '../base/redact.ts';
import { QuayctlError } from '../base/errors.ts';

/** `--log-format`: lines for people, or one JSON object a line for log collectors. */
export type LogFormat = 'text' | 'json';

export const LOG_FORMAT_HELP = 'log lines on stderr: text, or json (one object a line)';

/** @throws QuayctlError `usage` */
export function parseLogFormat(text: string): LogFormat {
  if (text === 'text' || text === 'json') return text;
  throw new QuayctlError(
    'usage',
    `--log-format: expected text or json, got ${JSON.stringify(text.slice(0, 40))}`,
  );
}

interface LogEvent {
  readonly kind: string;
}

/**
 * One line of JSON, without its line feed: `time` (RFC 3339), `level`, `event`, `message` where there is one, and what the
 * event says in numbers, strings and booleans. Sizes are bytes, durations seconds or what their name says.
 * @param message for people
 */
export function jsonLine(event: LogEvent, message?: string): string {
  const { kind, ...fields } = event;
  const plain = Object.entries(fields)
    .filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value))
    .map(([name, value]: [string, unknown]) => [name, typeof value === 'string' ? redact(value) : value]);
  return JSON.stringify({
    time: new Date().toISOString(),
    level: levelOf(kind),
    event: kind,
    ...Object.fromEntries(plain),
    ...(message === undefined ? {} : { message: redact(message) }),
  });
}

function levelOf(kind: string): 'debug' | 'info' | 'warning' {
  if (kind === 'debug') return 'debug';
  return kind === 'warning' || kind === 'cut' || kind.endsWith('-failed') ? 'warning' : 'info';
}
