import { QuayctlError } from '../base/errors.ts';

/** Clair's `normalized_severity`, mildest first. Whatever a report says besides these counts as Unknown. */
export const SEVERITIES = ['Unknown', 'Negligible', 'Low', 'Medium', 'High', 'Critical'] as const;

export type Severity = (typeof SEVERITIES)[number];

/** Position among SEVERITIES: a larger one is worse. */
export function severityRank(severity: Severity): number {
  return SEVERITIES.indexOf(severity);
}

/** From a report, in any case. */
export function severityFromReport(text: unknown): Severity {
  const word = typeof text === 'string' ? text.trim().toLowerCase() : '';
  return SEVERITIES.find((each) => each.toLowerCase() === word) ?? 'Unknown';
}

/** The qualitative rating of a CVSS base score (CVSS v3.1 specification, section 5). */
export function severityOfScore(score: number): Severity {
  if (score >= 9) return 'Critical';
  if (score >= 7) return 'High';
  if (score >= 4) return 'Medium';
  return score > 0 ? 'Low' : 'Negligible';
}

/** From a command line. @throws QuayctlError `usage` that lists the accepted words */
export function parseSeverity(text: string): Severity {
  const found = SEVERITIES.find((each) => each.toLowerCase() === text.toLowerCase());
  if (found !== undefined) return found;
  const words = SEVERITIES.map((each) => each.toLowerCase()).join(', ');
  throw new QuayctlError('usage', `not a severity: ${JSON.stringify(text.slice(0, 80))} (${words})`);
}
