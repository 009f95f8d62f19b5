import { redact } from '../base/redact.ts';
import { formatBytes } from '../base/units.ts';
import { jsonLine, type LogFormat } from './log-format.ts';
import type { ServeEvent } from '../serve/torrent-service.ts';

/**
 * One line for each event: `key=value` (logfmt), so that people and log collectors both read it, or JSON.
 * @returns undefined for what only `--debug` tells
 */
export function serveLine(event: ServeEvent, debug: boolean, format: LogFormat): string | undefined {
  // Each is a request, too.
  if (event.kind === 'announced' || event.kind === 'blob-given') return undefined;
  if (event.kind === 'request' && !debug && event.status < 400) return undefined;
  if (format === 'json') return jsonLine(event);
  const { kind, ...fields } = event;
  const pairs = Object.entries({ time: new Date().toISOString(), event: kind, ...fields });
  return redact(pairs.map(([key, value]) => `${key}=${shown(key, value)}`).join(' '));
}

function shown(key: string, value: string | number | boolean): string {
  if (key === 'size' && typeof value === 'number') return JSON.stringify(formatBytes(value));
  const text = typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(3) : String(value);
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text);
}
