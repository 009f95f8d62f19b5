import type { Sums } from '../status.ts';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Three digits and a unit of thousands, as the command line writes them. */
export function bytes(count: number): string {
  const [number, unit] = bytesInParts(count);
  return `${number} ${unit}`;
}

export function bytesInParts(count: number): [number: string, unit: string] {
  let value = Math.max(0, count);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return [value.toFixed(digits), UNITS[unit] ?? ''];
}

export function rate(perSecond: number): string {
  return perSecond <= 0 ? '–' : `${bytes(perSecond)}/s`;
}

export function percent(part: number): string {
  if (part > 0 && part < 0.01) return '<1 %';
  if (part > 0.99 && part < 1) return '>99 %';
  return `${Math.round(part * 100)} %`;
}

/** Of what was received; undefined where nothing was. */
export function peerShare({ fromPeers, fromRegistry }: Sums): number | undefined {
  const received = fromPeers + fromRegistry;
  return received <= 0 ? undefined : fromPeers / received;
}

export function seconds(count: number): string {
  if (count < 1) return '<1 s';
  if (count < 90) return `${Math.round(count)} s`;
  if (count < 5400) return `${Math.round(count / 60)} min`;
  if (count < 129_600) return `${Math.round(count / 3600)} h`;
  return `${Math.round(count / 86_400)} d`;
}

export function ago(then: number, now: number): string {
  const passed = (now - then) / 1000;
  return passed < 5 ? 'now' : `${seconds(passed)} ago`;
}

export function date(time: number): string {
  return new Date(time).toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

export function counted(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** `sha256:0123456789ab` */
export function shortDigest(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return hex === '' ? 'unknown' : `${algorithm}:${hex.slice(0, 12)}`;
}
