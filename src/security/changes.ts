import type { SecurityReport, Vulnerability } from './report.ts';
import { severityRank, type Severity } from './severity.ts';

/** What is remembered of a flaw, to tell later that something about it has changed. */
export interface KnownFlaw {
  readonly name: string;
  readonly package: string;
  readonly version: string;
  readonly severity: Severity;
  /** Empty for none. */
  readonly fixedIn: string;
  readonly link: string;
}

/** `changed`: its severity, or the version that mends it. */
export interface FlawChange {
  readonly change: 'added' | 'removed' | 'changed';
  readonly flaw: KnownFlaw;
  /** Of `changed`: what it was before. */
  readonly before?: Pick<KnownFlaw, 'severity' | 'fixedIn'>;
}

export function knownFlaws({ packages }: SecurityReport): readonly KnownFlaw[] {
  return packages.flatMap(({ name, version, vulnerabilities }) =>
    vulnerabilities.map((flaw) => knownFlaw(name, version, flaw)),
  );
}

/**
 * What is new in a report about the same image. The image does not change, so everything that does is news.
 * @param atLeast a change counts where the flaw is, or was, of this severity or worse
 */
export function changesBetween(
  before: readonly KnownFlaw[],
  after: readonly KnownFlaw[],
  atLeast: Severity,
): readonly FlawChange[] {
  const old = new Map(before.map((flaw) => [keyOf(flaw), flaw]));
  const now = new Map(after.map((flaw) => [keyOf(flaw), flaw]));
  const changes: FlawChange[] = [];
  for (const [key, flaw] of now) {
    const known = old.get(key);
    if (known === undefined) changes.push({ change: 'added', flaw });
    else if (known.severity !== flaw.severity || known.fixedIn !== flaw.fixedIn) {
      const { severity, fixedIn } = known;
      changes.push({ change: 'changed', flaw, before: { severity, fixedIn } });
    }
  }
  for (const [key, flaw] of old) if (!now.has(key)) changes.push({ change: 'removed', flaw });
  return changes.filter(({ flaw, before: was }) =>
    [flaw.severity, was?.severity ?? flaw.severity].some(
      (each) => severityRank(each) >= severityRank(atLeast),
    ),
  );
}

function knownFlaw(packageName: string, version: string, flaw: Vulnerability): KnownFlaw {
  const { name, severity, fixedIn = '', links } = flaw;
  return { name, package: packageName, version, severity, fixedIn, link: links[0] ?? '' };
}

function keyOf({ name, package: packageName, version }: KnownFlaw): string {
  return JSON.stringify([name, packageName, version]);
}
