import type { Digest } from '../image/digest.ts';
import {
  compareText,
  worstFirst,
  type ImagePackage,
  type SecurityReport,
  type Vulnerability,
} from './report.ts';
import { SEVERITIES, severityRank, type Severity } from './severity.ts';
import { compareVersions } from './versions.ts';

/** How many flaws there are of each severity, worst first; severities without one are left out. */
export interface Summary {
  readonly packages: number;
  readonly total: number;
  readonly fixable: number;
  readonly bySeverity: readonly {
    readonly severity: Severity;
    readonly count: number;
    readonly fixable: number;
  }[];
}

/** One row of the list by CVE. */
export interface FlawRow extends Vulnerability {
  readonly package: string;
  readonly version: string;
}

/** One row of the package view. */
export interface PackageRow {
  readonly name: string;
  readonly version: string;
  readonly worst: Severity;
  readonly count: number;
  readonly fixable: number;
  /** The version that mends all that can be mended; absent where nothing can. */
  readonly upgradeTo?: string;
  /** Which part of the weight of all flaws one upgrade takes away, 0 to 1. */
  readonly impact: number;
  /** Many flaws and no fix: perhaps the image can do without it. */
  readonly removable: boolean;
  readonly layer?: Digest;
  /** The step of the image's history that made this layer. */
  readonly command?: string;
}

export type PackageOrder = 'impact' | 'count' | 'severity';

export interface FlawFilter {
  readonly fixableOnly: boolean;
  readonly atLeast: Severity;
}

/** So many flaws without a fix make a package one that should be left out, if that is possible. */
const MANY = 3;

export function summaryOf(report: SecurityReport): Summary {
  const flaws = report.packages.flatMap(({ vulnerabilities }) => vulnerabilities);
  const bySeverity = SEVERITIES.toReversed()
    .map((severity) => {
      const these = flaws.filter((flaw) => flaw.severity === severity);
      return { severity, count: these.length, fixable: these.filter(isFixable).length };
    })
    .filter(({ count }) => count > 0);
  const fixable = flaws.filter(isFixable).length;
  return { packages: report.packages.length, total: flaws.length, fixable, bySeverity };
}

/** All flaws of a report that a filter lets through, worst first. */
export function flawRows(report: SecurityReport, filter: FlawFilter): readonly FlawRow[] {
  const rows = report.packages.flatMap(({ name, version, vulnerabilities }) =>
    vulnerabilities
      .filter((flaw) => passes(flaw, filter))
      .map((flaw) => ({ ...flaw, package: name, version })),
  );
  return rows.toSorted((a, b) => worstFirst(a, b) || compareText(a.package, b.package));
}

/**
 * Packages with a flaw that the filter lets through; counts and impact are of all their flaws.
 * @param commands of the image's history, by layer
 */
export function packageRows(
  report: SecurityReport,
  order: PackageOrder,
  filter: FlawFilter,
  commands: ReadonlyMap<Digest, string>,
): readonly PackageRow[] {
  const all = report.packages.flatMap(({ vulnerabilities }) => vulnerabilities);
  const total = weightOf(all);
  return report.packages
    .filter(({ vulnerabilities }) => vulnerabilities.some((flaw) => passes(flaw, filter)))
    .map((each) => packageRow(each, total, commands))
    .toSorted(
      (a, b) =>
        ORDERS[order](a, b) || ORDERS.severity(a, b) || b.count - a.count || compareText(a.name, b.name),
    );
}

/** `4 upgrades remove 11 of 23`: what can be had by upgrades alone. */
export function upgradesOf(report: SecurityReport): { readonly upgrades: number; readonly removed: number } {
  const removed = report.packages.map(({ vulnerabilities }) => vulnerabilities.filter(isFixable).length);
  return {
    upgrades: removed.filter((count) => count > 0).length,
    removed: removed.reduce((sum, count) => sum + count, 0),
  };
}

/** Flaws that are worse than what is allowed, worst first. */
export function flawsAbove(report: SecurityReport, allowed: Severity): readonly FlawRow[] {
  const every = flawRows(report, { fixableOnly: false, atLeast: 'Unknown' });
  return every.filter(({ severity }) => severityRank(severity) > severityRank(allowed));
}

function packageRow(
  { name, version, layer, vulnerabilities }: ImagePackage,
  total: number,
  commands: ReadonlyMap<Digest, string>,
): PackageRow {
  const fixable = vulnerabilities.filter(isFixable);
  const versions = fixable.map(({ fixedIn = '' }) => fixedIn).toSorted(compareVersions);
  const upgradeTo = versions.at(-1);
  const command = layer === undefined ? undefined : commands.get(layer);
  return {
    name,
    version,
    worst: vulnerabilities[0]?.severity ?? 'Unknown',
    count: vulnerabilities.length,
    fixable: fixable.length,
    ...(upgradeTo === undefined ? {} : { upgradeTo }),
    impact: total === 0 ? 0 : weightOf(fixable) / total,
    removable: fixable.length === 0 && vulnerabilities.length >= MANY,
    ...(layer === undefined ? {} : { layer }),
    ...(command === undefined ? {} : { command }),
  };
}

const ORDERS: Readonly<Record<PackageOrder, (a: PackageRow, b: PackageRow) => number>> = {
  impact: (a, b) => b.impact - a.impact,
  count: (a, b) => b.count - a.count,
  severity: (a, b) => severityRank(b.worst) - severityRank(a.worst),
};

function passes(flaw: Vulnerability, { fixableOnly, atLeast }: FlawFilter): boolean {
  return severityRank(flaw.severity) >= severityRank(atLeast) && (!fixableOnly || isFixable(flaw));
}

function isFixable({ fixedIn }: Vulnerability): boolean {
  return fixedIn !== undefined;
}

/** Quay's: one critical flaw weighs more than a hundred that are low. */
const SCORES: Readonly<Record<Severity, number>> = {
  Unknown: 0,
  Negligible: 1,
  Low: 3,
  Medium: 6,
  High: 9,
  Critical: 10,
};
/** A CVSS score counts where it agrees with the distribution's severity about so much. */
const AGREEMENT = 2;

function weightOf(flaws: readonly Vulnerability[]): number {
  return flaws.reduce((sum, flaw) => sum + 2 ** scoreOf(flaw) + 0.1, 0);
}

function scoreOf({ severity, cvss }: Vulnerability): number {
  const score = SCORES[severity];
  return cvss === undefined || cvss < score || cvss - score > AGREEMENT ? score : cvss;
}
