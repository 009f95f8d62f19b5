import type { Digest } from '../image/digest.ts';
import { formatReference, type ImageReference } from '../image/reference.ts';
import type { SecurityReport } from '../security/report.ts';
import { sarifLog } from '../security/sarif.ts';
import type { Severity } from '../security/severity.ts';
import { reportText } from '../security/text.ts';
import {
  flawRows,
  packageRows,
  summaryOf,
  upgradesOf,
  type FlawFilter,
  type PackageOrder,
} from '../security/views.ts';
import { exitCodeOf } from './exit-codes.ts';
import type { RawSecurityFlags } from './security-flags.ts';
import type { Session } from './session.ts';

/** How a report is to be shown, and when it is a failure. */
export interface ShowFlags {
  readonly filter: FlawFilter;
  readonly failOn: Severity | undefined;
  readonly order: PackageOrder;
}

export interface FoundReport {
  readonly reference: ImageReference;
  readonly report: SecurityReport;
  /** The steps of the image's history, by layer. */
  readonly commands: ReadonlyMap<Digest, string>;
}

/** The report to stdout, as text, JSON or SARIF; then the verdict of `--fail-on`. */
export function showReport(
  { reference, report, commands }: FoundReport,
  { filter, order, failOn }: ShowFlags,
  raw: RawSecurityFlags,
  session: Session,
): void {
  const image = formatReference(reference);
  const { digest, source } = report;
  const summary = summaryOf(report);
  const flaws = flawRows(report, filter);
  const packages = packageRows(report, order, filter, commands);
  const over =
    failOn === undefined ? 0 : flawRows(report, { fixableOnly: filter.fixableOnly, atLeast: failOn }).length;
  const { terminal, version } = session;
  if (raw.sarif === true) {
    const { repository } = reference;
    terminal.out(`${JSON.stringify(sarifLog(flaws, { image, repository, digest, version }))}\n`);
  } else if (raw.json === true) {
    const counts = { ...summary, ...upgradesOf(report) };
    const verdict = failOn === undefined ? {} : { failOn: { severity: failOn, count: over } };
    const json = { image, digest, source, summary: counts, packages, vulnerabilities: flaws, ...verdict };
    terminal.out(`${JSON.stringify(json)}\n`);
  } else {
    terminal.out(reportText({ image, report, summary, packages, flaws, filter: filterText(filter) }));
  }
  if (over === 0 || failOn === undefined) return;
  // The data is out, so that nothing but words and the exit code may follow.
  const [what, are] = over === 1 ? ['vulnerability', 'is'] : ['vulnerabilities', 'are'];
  const mended = filter.fixableOnly ? ' that an upgrade mends' : '';
  terminal.err(`quayctl: ${over} ${what}${mended} ${are} ${failOn.toLowerCase()} or worse in ${image}\n`);
  session.exitWith(exitCodeOf('refused'));
}

function filterText({ fixableOnly, atLeast }: FlawFilter): string {
  return [
    ...(fixableOnly ? ['fixable'] : []),
    ...(atLeast === 'Unknown' ? [] : [`${atLeast.toLowerCase()} and worse`]),
  ].join(', ');
}
