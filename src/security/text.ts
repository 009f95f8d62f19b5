import type { SecurityReport } from './report.ts';
import { upgradesOf, type FlawRow, type PackageRow, type Summary } from './views.ts';

/** What a terminal shows of a report; rows are already filtered and sorted. */
export interface ShownReport {
  /** The image's name in full. */
  readonly image: string;
  readonly report: SecurityReport;
  readonly summary: Summary;
  readonly packages: readonly PackageRow[];
  readonly flaws: readonly FlawRow[];
  /** What was asked to be shown: `fixable, high and worse`; empty for everything. */
  readonly filter: string;
}

const SOURCES = { 'torrent-service': 'the torrent service', clair: 'Clair', quay: 'Quay' };
const MAX_CELL = 48;
const MAX_COMMAND_CELL = 64;

/** The report for people, lines with their ends: what upgrades bring first, then summary, packages and flaws. */
export function reportText(shown: ShownReport): string {
  const { report, summary, packages, flaws, filter } = shown;
  const { kind, host } = report.source;
  const about = `${shown.image}, ${report.digest}\nreported by ${SOURCES[kind]} ${host}`;
  const sections = [`${headline(shown)}\n${about}\n`];
  if (summary.total > 0) sections.push(table(summaryTable(summary), [1, 2]));
  if (filter !== '' && summary.total > 0) {
    sections.push(`shown: ${filter} (${flaws.length} of ${summary.total})\n`);
  }
  if (packages.length > 0) sections.push(table(packageTable(packages), [3, 4, 6]));
  const removable = packages.filter((row) => row.removable).map(({ name, count }) => `${name} (${count})`);
  if (removable.length > 0) {
    sections.push(`Candidates for removal, nothing mends them: ${removable.join(', ')}\n`);
  }
  if (flaws.length > 0) sections.push(table(flawTable(flaws), [2]));
  return sections.join('\n');
}

/** The first line. */
function headline({ report, summary }: ShownReport): string {
  const { total, packages } = summary;
  if (packages === 0) return 'No packages were found in this image, so nothing is known about it';
  if (total === 0)
    return `No known vulnerabilities in ${packages} ${packages === 1 ? 'package' : 'packages'}`;
  const { upgrades, removed } = upgradesOf(report);
  const what = total === 1 ? 'vulnerability' : 'vulnerabilities';
  if (upgrades === 0) return `No upgrade removes any of ${total} ${what}`;
  return `${upgrades} ${upgrades === 1 ? 'upgrade removes' : 'upgrades remove'} ${removed} of ${total} ${what}`;
}

function summaryTable({ bySeverity, total, fixable }: Summary): string[][] {
  const rows = bySeverity.map(({ severity, count, fixable: mended }) => [
    severity,
    String(count),
    String(mended),
  ]);
  return [['SEVERITY', 'ALL', 'FIXABLE'], ...rows, ['all', String(total), String(fixable)]];
}

function packageTable(rows: readonly PackageRow[]): string[][] {
  const head = ['PACKAGE', 'INSTALLED', 'WORST', 'ALL', 'FIXABLE', 'UPGRADE TO', 'IMPACT', 'BROUGHT IN BY'];
  return [
    head,
    ...rows.map((row) => [
      cut(row.name),
      cut(row.version),
      row.worst,
      String(row.count),
      String(row.fixable),
      cut(row.upgradeTo ?? ''),
      row.fixable === 0 ? '-' : percent(row.impact),
      cut(row.command ?? row.layer?.slice(0, 'sha256:'.length + 12) ?? '', MAX_COMMAND_CELL),
    ]),
  ];
}

function flawTable(rows: readonly FlawRow[]): string[][] {
  const head = ['VULNERABILITY', 'SEVERITY', 'CVSS', 'PACKAGE', 'INSTALLED', 'FIXED IN', 'LINK'];
  return [
    head,
    ...rows.map((row) => [
      cut(row.name),
      row.severity,
      row.cvss?.toFixed(1) ?? '-',
      cut(row.package),
      cut(row.version),
      cut(row.fixedIn ?? ''),
      row.links[0] ?? '',
    ]),
  ];
}

/** Something is never shown as nothing. */
function percent(part: number): string {
  return part > 0 && part < 0.01 ? '<1 %' : `${Math.round(part * 100)} %`;
}

function cut(text: string, max = MAX_CELL): string {
  if (text === '') return '-';
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}

/** @param numbers columns that are aligned at the right */
function table(rows: readonly (readonly string[])[], numbers: readonly number[]): string {
  const widths = rows[0]?.map((_, column) =>
    rows.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0),
  );
  const pad = (cell: string, column: number): string => {
    const width = widths?.[column] ?? 0;
    return numbers.includes(column) ? cell.padStart(width) : cell.padEnd(width);
  };
  return rows.map((row) => `${row.map(pad).join('  ').trimEnd()}\n`).join('');
}
