import { QuayctlError } from '../base/errors.ts';
import type { SecurityReport } from './report.ts';
import { severityRank, type Severity } from './severity.ts';
import { flawsAbove } from './views.ts';

/** So many are named in the refusal. */
const NAMED = 3;

/**
 * `--max-severity`: an image whose worst flaw is above the one that is allowed is refused.
 * @throws QuayctlError `refused`
 */
export function assertAllowed(report: SecurityReport, allowed: Severity, image: string): void {
  const above = flawsAbove(report, allowed);
  if (above.length === 0) return;
  const named = above
    .slice(0, NAMED)
    .map((flaw) => `${flaw.name} (${flaw.severity}) in ${flaw.package} ${flaw.version}`.trimEnd());
  const more = above.length > NAMED ? `, and ${above.length - NAMED} more` : '';
  const what = above.length === 1 ? 'vulnerability' : 'vulnerabilities';
  throw new QuayctlError(
    'refused',
    `${image} has ${above.length} ${what} above ${allowed.toLowerCase()}: ${named.join('; ')}${more}`,
    { hint: `\`quayctl security ${image}\` shows all of them, and which upgrades remove them` },
  );
}

/** What a gate that lets an image through leaves open; undefined where the report answers everything. */
export function gateWarning({ packages, source }: SecurityReport): string | undefined {
  if (packages.length === 0) {
    return `${source.host} found no packages in this image: its report says nothing about it`;
  }
  const unrated = packages
    .flatMap(({ vulnerabilities }) => vulnerabilities)
    .filter(({ severity }) => severityRank(severity) === 0).length;
  if (unrated === 0) return undefined;
  const what = unrated === 1 ? 'vulnerability has' : 'vulnerabilities have';
  return `${unrated} ${what} no severity yet, which --max-severity cannot judge`;
}
