import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Digest } from '../../src/image/digest.ts';
import { parseManifest } from '../../src/image/manifest.ts';
import { changesBetween, knownFlaws } from '../../src/security/changes.ts';
import { assertAllowed, gateWarning } from '../../src/security/gate.ts';
import { layerCommands } from '../../src/security/history.ts';
import { makeReport, type SecurityReport, type Vulnerability } from '../../src/security/report.ts';
import { sarifLog } from '../../src/security/sarif.ts';
import { reportText } from '../../src/security/text.ts';
import type { Severity } from '../../src/security/severity.ts';
import { compareVersions } from '../../src/security/versions.ts';
import { flawRows, packageRows, summaryOf, type PackageOrder } from '../../src/security/views.ts';
import { CLAIR, DIGEST, LAYER } from './report-files.ts';

const ALL = { fixableOnly: false, atLeast: 'Unknown' } as const;
const NO_COMMANDS: ReadonlyMap<Digest, string> = new Map();

let number = 0;
const flaw = (severity: Severity, fixedIn?: string): Vulnerability => ({
  name: `CVE-2026-${(number += 1)}`,
  severity,
  links: [],
  description: '',
  ...(fixedIn === undefined ? {} : { fixedIn }),
});
const REPORT = makeReport(DIGEST, CLAIR, [
  {
    name: 'openssl',
    version: '3.0.1',
    layer: LAYER,
    vulnerabilities: [flaw('Critical', '3.0.10'), flaw('Low', '3.0.9')],
  },
  { name: 'perl', version: '5', vulnerabilities: [flaw('Medium'), flaw('Medium'), flaw('Low')] },
  { name: 'zlib', version: '', vulnerabilities: [flaw('High', '1.3'), flaw('High')] },
  { name: 'base-files', version: '12', vulnerabilities: [] },
]);
const EMPTY = makeReport(DIGEST, CLAIR, []);

const shown = (report: SecurityReport): string =>
  reportText({
    image: 'registry.example/app:1.0',
    report,
    summary: summaryOf(report),
    packages: packageRows(report, 'impact', ALL, new Map([[LAYER, 'RUN apt-get install openssl']])),
    flaws: flawRows(report, ALL),
    filter: '',
  });

test('the summary counts by severity, worst first, and how many an upgrade mends', () => {
  assert.deepEqual(summaryOf(REPORT), {
    packages: 4,
    total: 7,
    fixable: 3,
    bySeverity: [
      { severity: 'Critical', count: 1, fixable: 1 },
      { severity: 'High', count: 2, fixable: 1 },
      { severity: 'Medium', count: 2, fixable: 0 },
      { severity: 'Low', count: 2, fixable: 1 },
    ],
  });
});

test('the package view: what to upgrade to, what that removes, what can only be removed', () => {
  const rows = packageRows(REPORT, 'impact', ALL, new Map([[LAYER, 'RUN apt-get install openssl']]));
  assert.deepEqual(
    rows.map(({ name, worst, count, fixable, upgradeTo, removable, command }) => [
      name,
      worst,
      count,
      fixable,
      upgradeTo,
      removable,
      command,
    ]),
    [
      ['openssl', 'Critical', 2, 2, '3.0.10', false, 'RUN apt-get install openssl'],
      ['zlib', 'High', 2, 1, '1.3', false, undefined],
      ['perl', 'Medium', 3, 0, undefined, true, undefined],
    ],
  );
  const [first = 0, second = 0, last] = rows.map(({ impact }) => impact);
  assert.ok(first > second && second > 0 && last === 0 && first + second < 1, 'parts of one whole');
});

for (const [order, names] of [
  ['impact', ['openssl', 'zlib', 'perl']],
  ['count', ['perl', 'openssl', 'zlib']],
  ['severity', ['openssl', 'zlib', 'perl']],
] as const satisfies readonly (readonly [PackageOrder, readonly string[]])[]) {
  test(`packages by ${order}`, () => {
    assert.deepEqual(
      packageRows(REPORT, order, ALL, NO_COMMANDS).map(({ name }) => name),
      names,
    );
  });
}

test('filters let through what is fixable, and what is bad enough', () => {
  const fixable = flawRows(REPORT, { fixableOnly: true, atLeast: 'Unknown' });
  assert.deepEqual(
    fixable.map(({ package: name, fixedIn }) => [name, fixedIn]),
    [
      ['openssl', '3.0.10'],
      ['zlib', '1.3'],
      ['openssl', '3.0.9'],
    ],
  );
  assert.equal(flawRows(REPORT, { fixableOnly: false, atLeast: 'High' }).length, 3);
  const packages = packageRows(REPORT, 'count', { fixableOnly: true, atLeast: 'High' }, NO_COMMANDS);
  assert.deepEqual(
    packages.map(({ name, count }) => [name, count]),
    [
      ['openssl', 2],
      ['zlib', 2],
    ],
  );
});

test('the text says first what upgrades bring', () => {
  const text = shown(REPORT);
  assert.ok(text.startsWith('2 upgrades remove 3 of 7 vulnerabilities\n'), text);
  assert.match(text, /^openssl +3\.0\.1 +Critical +2 +2 +3\.0\.10 +\d+ % +RUN apt-get install openssl$/m);
  assert.match(text, /^perl +5 +Medium +3 +0 +- +- +-$/m);
  assert.match(text, /^Candidates for removal, nothing mends them: perl \(3\)$/m);
  assert.match(text, /^reported by Clair clair\.example:6060$/m);
});

test('an image without flaws, and one of which nothing is known, are not the same', () => {
  const clean = makeReport(DIGEST, CLAIR, [{ name: 'one', version: '1', vulnerabilities: [] }]);
  assert.match(shown(clean), /^No known vulnerabilities in 1 package\n/);
  assert.match(shown(EMPTY), /^No packages were found in this image, so nothing is known about it\n/);
  const hopeless = makeReport(DIGEST, CLAIR, [{ name: 'one', version: '1', vulnerabilities: [flaw('Low')] }]);
  assert.match(shown(hopeless), /^No upgrade removes any of 1 vulnerability\n/);
});

test('the gate lets through what is allowed and names the worst of what is above', () => {
  assertAllowed(REPORT, 'Critical', 'app:1.0');
  assertAllowed(EMPTY, 'Unknown', 'app:1.0');
  assert.throws(() => assertAllowed(REPORT, 'High', 'app:1.0'), {
    code: 'refused',
    message: /^app:1\.0 has 1 vulnerability above high: CVE-2026-\d+ \(Critical\) in openssl 3\.0\.1$/,
  });
  assert.throws(() => assertAllowed(REPORT, 'Unknown', 'app:1.0'), { message: /has 7 .*, and 4 more$/ });
});

test('what a gate cannot judge it says', () => {
  assert.match(gateWarning(EMPTY) ?? '', /found no packages/);
  const unrated = makeReport(DIGEST, CLAIR, [
    { name: 'one', version: '1', vulnerabilities: [flaw('Unknown')] },
  ]);
  assert.match(gateWarning(unrated) ?? '', /^1 vulnerability has no severity yet/);
  assert.equal(gateWarning(REPORT), undefined);
});

test('a SARIF log has a rule for each flaw and a result for each package that has it', () => {
  const options = { image: 'registry.example/app:1.0', repository: 'app', digest: DIGEST, version: '1.2.3' };
  const log = sarifLog(flawRows(REPORT, ALL), options) as {
    version: string;
    runs: {
      tool: {
        driver: { version: string; rules: { id: string; properties: { 'security-severity': string } }[] };
      };
      results: { ruleId: string; ruleIndex: number; level: string; message: { text: string } }[];
    }[];
  };
  const [run] = log.runs;
  assert.ok(run !== undefined && log.version === '2.1.0');
  const { rules, version } = run.tool.driver;
  assert.deepEqual([rules.length, run.results.length, version], [7, 7, '1.2.3']);
  for (const { ruleId, ruleIndex } of run.results) assert.equal(rules[ruleIndex]?.id, ruleId);
  assert.deepEqual([run.results[0]?.level, rules[0]?.properties['security-severity']], ['error', '9.5']);
  assert.match(
    run.results[0]?.message.text ?? '',
    /^openssl 3\.0\.1 in .* \(Critical\): upgrade to 3\.0\.10$/,
  );
});

test('versions are compared as dpkg compares them', () => {
  const sorted = ['1.0~rc1', '1.0', '1.0+deb1', '1.0.1', '1.2', '1.10', 'v2.0', '1:0.1'];
  for (const [at, version] of sorted.entries()) {
    for (const [other, than] of sorted.entries()) {
      assert.equal(Math.sign(compareVersions(version, than)), Math.sign(at - other), `${version} ${than}`);
    }
  }
  assert.equal(compareVersions('007', '7'), 0);
});

test('layers have the command of the history that made them, as its author wrote it', () => {
  const layer = (name: string) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: LAYER.replace(/.$/, name),
    size: 1,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: DIGEST, size: 1 },
    layers: [layer('0'), layer('1'), layer('2')],
  };
  const parsed = parseManifest(Buffer.from(JSON.stringify(manifest)));
  assert.ok(parsed.kind === 'manifest');
  const history = [
    { created_by: '/bin/sh -c #(nop) ADD file:abc in / ' },
    { created_by: '/bin/sh -c #(nop)  CMD ["bash"]', empty_layer: true },
    { created_by: 'RUN /bin/sh -c apt-get update # buildkit' },
    { created_by: '/bin/sh -c make \u001b[2J install' },
  ];
  const config = (entries: unknown) => Buffer.from(JSON.stringify({ history: entries }));
  assert.deepEqual(
    [...layerCommands(config(history), parsed).values()],
    ['ADD file:abc in /', 'RUN apt-get update', 'RUN make [2J install'],
  );
  for (const odd of [history.slice(1), null, 'none', [null, 1, 'x', {}]]) {
    assert.equal(layerCommands(config(odd), parsed).size, 0);
  }
});

test('changes: what came, what went, what is rated or mended otherwise; what is not bad enough is no news', () => {
  const before = knownFlaws(REPORT);
  assert.deepEqual(changesBetween(before, before, 'Unknown'), []);
  const [first, ...rest] = REPORT.packages.find(({ name }) => name === 'perl')?.vulnerabilities ?? [];
  assert.ok(first !== undefined);
  const after = knownFlaws(
    makeReport(DIGEST, CLAIR, [
      ...REPORT.packages.filter(({ name }) => name !== 'perl'),
      {
        name: 'perl',
        version: '5',
        vulnerabilities: [{ ...first, severity: 'High', fixedIn: '6' }, flaw('Low')],
      },
    ]),
  );
  const changes = changesBetween(before, after, 'Unknown');
  assert.deepEqual(
    changes.map(({ change }) => change),
    ['changed', 'added', ...rest.map(() => 'removed')],
  );
  assert.deepEqual(
    changesBetween(before, after, 'High').map(({ change, before: was }) => [change, was]),
    [['changed', { severity: 'Medium', fixedIn: '' }]],
  );
});
