import { QuayctlError } from './errors.ts';

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
/** A century: beyond it, arithmetic on dates is what would be tested. */
const LONGEST_MS = 100 * 365 * 86_400_000;

/**
 * `90s`, `10m`, `1h30m`, `500ms`, `0`; a bare number other than 0 has no unit and is refused.
 * @returns milliseconds
 * @throws QuayctlError `usage` that states the accepted form
 */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  const parts = /^(?:\d{1,9}(?:\.\d{1,3})?(?:ms|[smhd]))+$/.test(text)
    ? text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g)
    : [];
  let total: number | undefined;
  for (const [, count, unit] of parts)
    total = (total ?? 0) + Number(count) * (DURATION_UNITS[unit ?? ''] ?? NaN);
  if (total === undefined || !(total <= LONGEST_MS)) {
    throw new QuayctlError(
      'usage',
      `not a duration: ${JSON.stringify(text.slice(0, 80))} (write 90s, 10m or 1h30m)`,
    );
  }
  return Math.round(total);
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/**
 * `500M` (1000), `10Gi` (1024), `4096`; a `B` may follow.
 * @returns bytes
 * @throws QuayctlError `usage` that states the accepted form
 */
export function parseSize(text: string): number {
  const [, count, unit = ''] = /^(\d{1,15}(?:\.\d{1,6})?)\s?([kmgt]i?)?b?$/i.exec(text) ?? [];
  const bytes = Math.round(Number(count) * (SIZE_UNITS[unit.toLowerCase()] ?? Number.NaN));
  if (!Number.isSafeInteger(bytes)) {
    throw new QuayctlError(
      'usage',
      `not a size: ${JSON.stringify(text.slice(0, 80))} (write 500M, 20G or 10Gi)`,
    );
  }
  return bytes;
}

/** For people, in powers of 1000: `0 B`, `999 B`, `12.3 MB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** For people: `850ms`, `4.2s`, `10m`, `1h30m`. @param ms milliseconds */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(1))}s`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor((seconds % 86_400) / 3600), 'h'],
    [Math.floor((seconds % 3600) / 60), 'm'],
    [seconds % 60, 's'],
  ] as const;
  return parts.map(([count, unit]) => (count > 0 ? `${count}${unit}` : '')).join('');
}
