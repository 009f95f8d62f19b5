import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isQuayctlError, type ErrorCode } from '../../src/base/errors.ts';
import { parseClairReport, parseIndexState } from '../../src/security/clair-report.ts';
import type { SecurityReport, Vulnerability } from '../../src/security/report.ts';
import { CLAIR, clairFlaw, clairReport, DIGEST, LAYER } from './report-files.ts';

const parse = (bytes: Uint8Array): SecurityReport => parseClairReport(bytes, DIGEST, CLAIR);
const only = (bytes: Uint8Array): Vulnerability => {
  const [flaw, ...others] = parse(bytes).packages.flatMap(({ vulnerabilities }) => vulnerabilities);
  assert.ok(flaw !== undefined && others.length === 0);
  return flaw;
};
const refuses = (bytes: Uint8Array, code: ErrorCode, message: RegExp): void =>
  assert.throws(
    () => parse(bytes),
    (error) => isQuayctlError(error, code) && message.test(error.message),
  );

test("Clair's report says which package of which layer has which flaw", () => {
  const flaws = [
    clairFlaw('1', { fixed_in_version: '1.1' }),
    clairFlaw('2', { normalized_severity: 'Critical' }),
  ];
  const enrichments = {
    'message/vnd.clair.map.vulnerability; enricher=clair.cvss schema=x': [
      { 1: [{ baseScore: 4.2 }, { baseScore: 7.5 }, { baseScore: 'none' }, null] },
    ],
    'message/vnd.clair.map.vulnerability; enricher=clair.epss': [{ 2: [{ baseScore: 1 }] }],
  };
  const report = parse(clairReport(flaws, { enrichments }));
  assert.deepEqual(report, {
    digest: DIGEST,
    source: CLAIR,
    packages: [
      {
        name: 'one',
        version: '1.0',
        layer: LAYER,
        vulnerabilities: [
          {
            name: 'CVE-2026-2',
            severity: 'Critical',
            links: ['https://cve.example/1'],
            description: 'a flaw',
          },
          {
            name: 'CVE-2026-1',
            severity: 'High',
            cvss: 7.5,
            fixedIn: '1.1',
            links: ['https://cve.example/1'],
            description: 'a flaw',
          },
        ],
      },
      { name: 'two', version: '2.0', vulnerabilities: [] },
    ],
  });
});

test('a flaw that several repositories know counts once, with the worst severity and the fix that any of them knows', () => {
  const name = 'CVE-2026-1';
  const flaw = only(
    clairReport([
      clairFlaw('1', { name, normalized_severity: 'Low', fixed_in_version: '1.2' }),
      clairFlaw('2', { name, normalized_severity: 'High' }),
    ]),
  );
  assert.deepEqual([flaw.severity, flaw.fixedIn], ['High', '1.2']);
});

for (const [severity, cvss, expected] of [
  ['Critical', undefined, 'Critical'],
  ['CRITICAL', undefined, 'Critical'],
  ['Catastrophic', undefined, 'Unknown'],
  ['', undefined, 'Unknown'],
  [null, undefined, 'Unknown'],
  [9, undefined, 'Unknown'],
  ['Unknown', 9.8, 'Critical'],
  ['Catastrophic', 7, 'High'],
  ['Low', 9.8, 'Low'],
  ['Unknown', 0, 'Unknown'],
] as const) {
  test(`severity ${JSON.stringify(severity)} with a CVSS score of ${cvss ?? 'nothing'} is ${expected}`, () => {
    const enrichments =
      cvss === undefined ? {} : { 'x; enricher=clair.cvss': [{ 1: [{ baseScore: cvss }] }] };
    const flaw = only(clairReport([clairFlaw('1', { normalized_severity: severity })], { enrichments }));
    assert.equal(flaw.severity, expected);
  });
}

for (const [given, expected] of [
  ['1.2.3', '1.2.3'],
  ['0', undefined],
  ['', undefined],
  [null, undefined],
  ['fixed=1.2.3&introduced=1.0', '1.2.3'],
  ['introduced=1.0&lastAffected=2.0', undefined],
  ['1.0=beta', '1.0=beta'],
] as const) {
  test(`fixed_in_version ${JSON.stringify(given)} is ${expected ?? 'no fix'}`, () => {
    assert.equal(only(clairReport([clairFlaw('1', { fixed_in_version: given })])).fixedIn, expected);
  });
}

test('packages without a name or a version have a place in the report', () => {
  const packages = { 7: { id: '7' }, 8: { id: '8', name: null, version: null } };
  const { packages: read } = parse(clairReport([clairFlaw('1')], { packages }));
  assert.deepEqual(
    read.map(({ name, version }) => [name, version]),
    [
      ['package 7', ''],
      ['package 8', ''],
    ],
  );
});

test('foreign text has no control characters, no escape sequences, nothing that turns its direction, and an end', () => {
  const evil = `\u001b[31mred\u0007\r\n\u202Eright\u0000${'x'.repeat(5000)}`;
  const flaw = only(clairReport([clairFlaw('1', { name: evil, description: evil, fixed_in_version: evil })]));
  for (const text of [flaw.name, flaw.description, flaw.fixedIn ?? '']) {
    assert.match(text, /^\[31mred right x+…$/);
    assert.ok(text.length <= 600);
  }
});

test('only web addresses without a password are links', () => {
  const links =
    'javascript:alert(1) http://a.example/ https://u:p@b.example/ file:///etc/passwd https://c.example/?q=1';
  const flaw = only(
    clairReport([clairFlaw('1', { links: `${links} ${'https://d.example/ '.repeat(1000)}` })]),
  );
  assert.deepEqual(flaw.links, ['http://a.example/', 'https://c.example/?q=1', 'https://d.example/']);
});

test('names like those of built-in properties are names', () => {
  const text = clairReport([clairFlaw('__proto__'), clairFlaw('constructor')]).toString();
  // In a literal it would be the prototype.
  const packages = `{"__proto__":{"name":"__proto__","version":"toString"},"7":{"name":"one","version":"1.0"}}`;
  const report = parse(Buffer.from(text.replace(/"packages":\{.*?\}\}/, `"packages":${packages}`)));
  assert.deepEqual(
    report.packages.map(({ name }) => name),
    ['__proto__', 'one'],
  );
});

test('a report about another image is no report', () => {
  const other = DIGEST.replaceAll(/[0-9]/g, '0');
  refuses(clairReport([], { manifest_hash: other }), 'protocol', new RegExp(`is about ${other}`));
  refuses(clairReport([], { manifest_hash: null }), 'protocol', /does not say which image/);
});

test('a report that names flaws or packages that are not in it is not taken for a better one', () => {
  refuses(
    clairReport([], { package_vulnerabilities: { 7: ['17'] } }),
    'protocol',
    /vulnerability 17, which is not/,
  );
  refuses(
    clairReport([clairFlaw('1')], { package_vulnerabilities: { 99: ['1'] } }),
    'protocol',
    /package 99, which is not/,
  );
});

test('what is no report is refused', () => {
  for (const bytes of ['', '[]', 'null', '{', '<html>', `{"manifest_hash":"${DIGEST}","packages":[]}`]) {
    refuses(Buffer.from(bytes), 'protocol', /report/);
  }
  refuses(clairReport([], { vulnerabilities: 'many' }), 'protocol', /vulnerabilities: not an object/);
  refuses(clairReport([], { package_vulnerabilities: { 7: {} } }), 'protocol', /not a list/);
  refuses(Buffer.from(`{"a":${'['.repeat(100_000)}`), 'limit', /nested/);
});

test('a report of 100 MB is refused before it is read', () => {
  refuses(Buffer.alloc(100_000_000, ' '), 'limit', /bytes, more than/);
});

test('a report without packages is one, with null for what there is none of', () => {
  const nothing = {
    packages: null,
    environments: null,
    vulnerabilities: null,
    package_vulnerabilities: null,
  };
  assert.deepEqual(parse(clairReport([], nothing)).packages, []);
});

test('the same package a hundred thousand times is bounded, and quick', () => {
  const ids = Array.from({ length: 50_001 }, (_, at) => String(at));
  const packages = Object.fromEntries(ids.map((id) => [id, { name: 'one', version: '1' }]));
  refuses(clairReport([], { packages, package_vulnerabilities: {} }), 'limit', /more than 50000 packages/);
  const flaws = ids.slice(0, 20_001).map((id) => clairFlaw(id));
  refuses(clairReport(flaws), 'limit', /20001 items/);
});

for (const [step, success, state] of [
  ['CheckManifest', false, 'running'],
  ['FetchLayers', false, 'running'],
  ['IndexFinished', true, 'finished'],
  ['IndexFinished', false, 'failed'],
  ['IndexError', false, 'failed'],
  ['SomethingNew', false, 'running'],
] as const) {
  test(`an index in the state ${step} with success ${success} is ${state}`, () => {
    const bytes = Buffer.from(JSON.stringify({ manifest_hash: DIGEST, state: step, success, err: 'why' }));
    assert.deepEqual(parseIndexState(bytes, DIGEST), { state, step, error: 'why' });
  });
}
