import { QuayctlError } from '../base/errors.ts';
import type { Digest } from '../image/digest.ts';
import { severityOfScore, severityRank, type Severity } from './severity.ts';

/** Who made a report. */
export interface ReportSource {
  readonly kind: 'torrent-service' | 'clair' | 'quay';
  /** `clair.example.com:6060` */
  readonly host: string;
}

/** One flaw of one package. The same CVE stands once for each package that has it, as in Quay. */
export interface Vulnerability {
  /** `CVE-2024-1234`, `GHSA-...`, `DSA-...`. */
  readonly name: string;
  readonly severity: Severity;
  /** CVSS base score, 0 to 10, the highest where there are several. */
  readonly cvss?: number;
  /** The version that mends it; absent where none does. */
  readonly fixedIn?: string;
  readonly links: readonly string[];
  readonly description: string;
}

/** A package that was found in an image. */
export interface ImagePackage {
  readonly name: string;
  /** Empty where the report gives none. */
  readonly version: string;
  /** The layer that brought it in, as far as the report says. */
  readonly layer?: Digest;
  /** Worst first. */
  readonly vulnerabilities: readonly Vulnerability[];
}

/** What is known about the flaws of one image, whoever said it. */
export interface SecurityReport {
  /** Of the manifest that the report is about, never of an index. */
  readonly digest: Digest;
  readonly source: ReportSource;
  /** By name and version, each pair once. */
  readonly packages: readonly ImagePackage[];
}

/** The size of a report. Clair's report of an image with 5,000 flaws has about 20 MB. */
export const MAX_REPORT_BYTES = 32 * 1024 * 1024;
/** Packages in a report. A desktop distribution has about 5,000, a large JavaScript application 20,000. */
export const MAX_PACKAGES = 50_000;
/** Pairs of a package and a flaw in a report. */
const MAX_VULNERABILITIES = 100_000;

/**
 * Makes a report of what was read from anywhere: packages of the same name and version become one, flaws of the same
 * name within a package, too (Clair names a CVE once for each repository that knows it), and the order is always the
 * same. A flaw without a severity gets that of its CVSS score, as in Quay.
 * @throws QuayctlError `limit`
 */
export function makeReport(
  digest: Digest,
  source: ReportSource,
  packages: Iterable<ImagePackage>,
): SecurityReport {
  const merged = new Map<
    string,
    { readonly first: ImagePackage; readonly flaws: Map<string, Vulnerability> }
  >();
  let count = 0;
  for (const each of packages) {
    const key = JSON.stringify([each.name, each.version]);
    const entry = merged.get(key) ?? { first: each, flaws: new Map<string, Vulnerability>() };
    merged.set(key, entry);
    if (merged.size > MAX_PACKAGES) {
      throw new QuayctlError('limit', `the report names more than ${MAX_PACKAGES} packages`);
    }
    for (const flaw of each.vulnerabilities) {
      const known = entry.flaws.get(flaw.name);
      entry.flaws.set(flaw.name, known === undefined ? rated(flaw) : worse(rated(flaw), known));
      count += known === undefined ? 1 : 0;
    }
    if (count > MAX_VULNERABILITIES) {
      throw new QuayctlError('limit', `the report names more than ${MAX_VULNERABILITIES} vulnerabilities`);
    }
  }
  const sorted = [...merged.values()].map(({ first, flaws }) => ({
    ...first,
    vulnerabilities: [...flaws.values()].toSorted(worstFirst),
  }));
  return { digest, source, packages: sorted.toSorted(byName) };
}

/** The worst first, then by name. */
export function worstFirst(a: Vulnerability, b: Vulnerability): number {
  return (
    severityRank(b.severity) - severityRank(a.severity) ||
    (b.cvss ?? -1) - (a.cvss ?? -1) ||
    compareText(a.name, b.name)
  );
}

/** The same on every machine, whatever its language. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Of two that say the same thing the worse one is kept, with the fix that either of them knows. */
function worse(a: Vulnerability, b: Vulnerability): Vulnerability {
  const [first, second] = worstFirst(a, b) <= 0 ? [a, b] : [b, a];
  const fixedIn = first.fixedIn ?? second.fixedIn;
  return { ...first, ...(fixedIn === undefined ? {} : { fixedIn }) };
}

function rated(flaw: Vulnerability): Vulnerability {
  if (flaw.severity !== 'Unknown' || flaw.cvss === undefined || flaw.cvss === 0) return flaw;
  return { ...flaw, severity: severityOfScore(flaw.cvss) };
}

function byName(a: ImagePackage, b: ImagePackage): number {
  return compareText(a.name, b.name) || compareText(a.version, b.version);
}
