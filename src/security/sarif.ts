import type { FlawRow } from './views.ts';
import type { Severity } from './severity.ts';

/** GitHub takes at most 25,000 results of a run; the worst come first. */
const MAX_RESULTS = 25_000;

/** For flaws without a CVSS score: the middle of the range that GitHub gives the same name. */
const SCORES: Readonly<Record<Severity, string>> = {
  Critical: '9.5',
  High: '8.0',
  Medium: '5.5',
  Low: '2.0',
  Negligible: '0.1',
  Unknown: '0.0',
};

const LEVELS: Readonly<Record<Severity, 'error' | 'warning' | 'note'>> = {
  Critical: 'error',
  High: 'error',
  Medium: 'warning',
  Low: 'note',
  Negligible: 'note',
  Unknown: 'note',
};

export interface SarifOptions {
  /** The image's name in full. */
  readonly image: string;
  readonly repository: string;
  readonly digest: string;
  /** Of quayctl. */
  readonly version: string;
}

/** The flaws as a SARIF log (OASIS SARIF 2.1.0), one run, in the form that code scanning of GitHub and GitLab takes. */
export function sarifLog(rows: readonly FlawRow[], options: SarifOptions): object {
  const shown = rows.slice(0, MAX_RESULTS);
  const rules = new Map<string, { readonly index: number; readonly rule: object }>();
  for (const row of shown) {
    if (!rules.has(row.name)) rules.set(row.name, { index: rules.size, rule: ruleOf(row) });
  }
  return {
    version: '2.1.0',
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    runs: [
      {
        tool: {
          driver: {
            name: 'quayctl',
            version: options.version,
            rules: [...rules.values()].map(({ rule }) => rule),
          },
        },
        properties: { image: options.image, digest: options.digest },
        results: shown.map((row) => resultOf(row, rules.get(row.name)?.index ?? 0, options)),
      },
    ],
  };
}

function ruleOf({ name, severity, cvss, links, description }: FlawRow): object {
  return {
    id: name,
    shortDescription: { text: name },
    fullDescription: { text: description === '' ? name : description },
    ...(links[0] === undefined ? {} : { helpUri: links[0] }),
    defaultConfiguration: { level: LEVELS[severity] },
    properties: { 'security-severity': cvss?.toFixed(1) ?? SCORES[severity], tags: ['security', severity] },
  };
}

function resultOf(row: FlawRow, ruleIndex: number, { image, repository, digest }: SarifOptions): object {
  const installed = row.version === '' ? row.package : `${row.package} ${row.version}`;
  const fix = row.fixedIn === undefined ? 'no version mends it yet' : `upgrade to ${row.fixedIn}`;
  return {
    ruleId: row.name,
    ruleIndex,
    level: LEVELS[row.severity],
    message: { text: `${installed} in ${image} has ${row.name} (${row.severity}): ${fix}` },
    locations: [
      {
        // Code scanning wants a file of the repository; an image has none, so its name stands for it.
        physicalLocation: { artifactLocation: { uri: repository }, region: { startLine: 1 } },
        logicalLocations: [{ fullyQualifiedName: `${digest}: ${installed}`, kind: 'package' }],
      },
    ],
    partialFingerprints: { 'quayctl/v1': `${row.name}:${row.package}:${row.version}` },
  };
}
