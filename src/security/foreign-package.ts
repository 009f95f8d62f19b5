import type { Digest } from '../image/digest.ts';
import { foreignLinks, foreignText } from './foreign-text.ts';
import type { ImagePackage, Vulnerability } from './report.ts';
import { severityFromReport } from './severity.ts';

/** Names, versions, and what is kept of a description. */
export const MAX_NAME = 200;
export const MAX_DESCRIPTION = 600;
/** Vulnerabilities of one package: an old kernel has some 3,000. */
export const MAX_OF_PACKAGE = 20_000;

/** A package out of a report of somebody else, whatever its fields hold there. */
export interface ForeignPackage {
  readonly name: unknown;
  /** Where it has none. */
  readonly otherName: string;
  readonly version: unknown;
  readonly layer: Digest | undefined;
  readonly vulnerabilities: readonly Vulnerability[];
}

/** Likewise a vulnerability. */
export interface ForeignVulnerability {
  readonly name: unknown;
  /** Where it has none. */
  readonly otherName: string;
  readonly severity: unknown;
  /** CVSS. */
  readonly score: unknown;
  readonly fixedIn: unknown;
  /** Addresses with white space between them. */
  readonly links: unknown;
  readonly description: unknown;
}

export function readPackage({
  name,
  otherName,
  version,
  layer,
  vulnerabilities,
}: ForeignPackage): ImagePackage {
  return {
    name: foreignText(name, MAX_NAME) || otherName,
    version: foreignText(version, MAX_NAME),
    ...(layer === undefined ? {} : { layer }),
    vulnerabilities,
  };
}

export function readVulnerability(flaw: ForeignVulnerability): Vulnerability {
  const fixedIn = foreignText(flaw.fixedIn, MAX_NAME);
  return {
    name: foreignText(flaw.name, MAX_NAME) || flaw.otherName,
    severity: severityFromReport(flaw.severity),
    ...(isScore(flaw.score) ? { cvss: flaw.score } : {}),
    ...(fixedIn === '' ? {} : { fixedIn }),
    links: foreignLinks(flaw.links),
    description: foreignText(flaw.description, MAX_DESCRIPTION),
  };
}

export function isScore(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 10;
}
