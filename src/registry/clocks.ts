import { headerOf, type HttpAnswer } from '../http/http.ts';

/** Servers forgive each other's clocks about a minute: further apart, fresh tokens are refused. */
const MAX_SKEW_MS = 60_000;

/** By how much a server's clock is ahead of ours (RFC 9110 section 6.6.1, Date), milliseconds; undefined where it does not say. */
export function skewOf(answer: Pick<HttpAnswer, 'headers'>): number | undefined {
  const date = Date.parse(headerOf(answer, 'date') ?? '');
  return Number.isNaN(date) ? undefined : date - Date.now();
}

/**
 * What the clocks are, where they differ so much that tokens are refused for it; else undefined.
 * @param skews by whose clock it is, for people
 */
export function clockHint(skews: Readonly<Record<string, number | undefined>>): string | undefined {
  const known = Object.entries(skews).filter((entry): entry is [string, number] => entry[1] !== undefined);
  const all = [0, ...known.map(([, skew]) => skew)];
  if (Math.max(...all) - Math.min(...all) < MAX_SKEW_MS) return undefined;
  const clocks = known.map(([whose, skew]) => `that of ${whose} ${clock(skew)}`).join(', ');
  return `the clocks differ, and tokens are refused for that: this machine's says ${clock(0)}, ${clocks}`;
}

/** `2026-11-25 17:21 UTC` */
function clock(skewMs: number): string {
  return `${new Date(Date.now() + skewMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
