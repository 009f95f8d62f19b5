import { formatDuration } from '../base/units.ts';
import type { Http, HttpAnswer } from '../http/http.ts';
import { skewOf } from '../registry/clocks.ts';
import type { Report } from './finding.ts';

/** Tokens and fresh certificates are refused from about here on. */
const MOST_SKEW_MS = 60_000;
/** A certificate that ends so soon is worth a word. */
const ENDS_SOON_MS = 14 * 86_400_000;

/** Says of a host's certificate whose it is, and when it ends; nothing of plain HTTP, and behind a proxy. */
export function reportCertificate(report: Report, http: Http, base: URL): void {
  const certificate = http.certificateOf(base);
  if (certificate === undefined) return;
  const { issuer, validUntil } = certificate;
  const until = validUntil.toISOString().slice(0, 10);
  const message = `${base.host}: trusted, valid until ${until}, issued by ${nameOf(issuer)}`;
  if (validUntil.getTime() - Date.now() > ENDS_SOON_MS) return report('tls', 'ok', message);
  report('tls', 'warning', message, 'whoever runs it should renew the certificate');
}

/** @param what whose clock it is: `registry` */
export function reportClock(report: Report, answer: Pick<HttpAnswer, 'headers'>, what: string): void {
  const skewMs = skewOf(answer);
  if (skewMs === undefined) return report('clock', 'skipped', `the ${what} does not say what time it is`);
  if (Math.abs(skewMs) <= MOST_SKEW_MS)
    return report('clock', 'ok', `within a minute of that of the ${what}`);
  const direction = skewMs > 0 ? 'behind' : 'ahead of';
  report(
    'clock',
    'warning',
    `this machine's clock is ${formatDuration(roundedMinutes(skewMs))} ${direction} that of the ${what}`,
    'tokens are refused when clocks differ: set the wrong one (timedatectl set-ntp true)',
  );
}

function roundedMinutes(ms: number): number {
  return Math.max(60_000, Math.round(Math.abs(ms) / 60_000) * 60_000);
}

/** The common name among the lines of a distinguished name, else all of it. */
function nameOf(issuer: string): string {
  return /^CN=(.+)$/m.exec(issuer)?.[1] ?? issuer.replaceAll('\n', ', ');
}
