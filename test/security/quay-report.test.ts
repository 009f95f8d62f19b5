import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { parseQuayReport } from '../../src/security/quay-report.ts';
import { parseReportJson, reportJson } from '../../src/security/report-json.ts';
import { DIGEST, LAYER } from './report-files.ts';

const QUAY = { kind: 'quay', host: 'quay.example' } as const;
const parse = (value: unknown) => parseQuayReport(Buffer.from(JSON.stringify(value)), DIGEST, QUAY);
const FLAW = {
  Severity: 'High',
  NamespaceName: 'debian/updater',
  Link: 'https://cve.example/1 https://cve.example/2',
  FixedBy: '1.1',
  Description: 'a flaw',
  Name: 'CVE-2026-1',
  Metadata: { UpdatedBy: '', NVD: { CVSSv3: { Vectors: 'x', Score: 8.1 } } },
};
const FEATURE = {
  Name: 'one',
  VersionFormat: '',
  NamespaceName: '',
  AddedBy: LAYER,
  Version: '1.0',
  Vulnerabilities: [FLAW],
};
const scanned = (features: unknown): object => ({
  status: 'scanned',
  data: { Layer: { Features: features } },
});

test("Quay's report is the same model as Clair's, and survives its own JSON", () => {
  const answer = parse(scanned([FEATURE, { ...FEATURE, AddedBy: `${LAYER}.1234`, Vulnerabilities: null }]));
  assert.ok(answer.kind === 'report');
  assert.deepEqual(answer.report.packages, [
    {
      name: 'one',
      version: '1.0',
      layer: LAYER,
      vulnerabilities: [
        {
          name: 'CVE-2026-1',
          severity: 'High',
          cvss: 8.1,
          fixedIn: '1.1',
          links: ['https://cve.example/1', 'https://cve.example/2'],
          description: 'a flaw',
        },
      ],
    },
  ]);
  const bytes = Buffer.from(JSON.stringify(reportJson(answer.report)));
  assert.deepEqual(parseReportJson(bytes, DIGEST, 'service.example').packages, answer.report.packages);
});

for (const metadata of [
  null,
  {},
  { NVD: null },
  { NVD: { CVSSv3: { Score: '' } } },
  'text',
  { NVD: { CVSSv3: { Score: 11 } } },
]) {
  test(`a flaw with the metadata ${JSON.stringify(metadata)} has no score`, () => {
    const answer = parse(scanned([{ ...FEATURE, Vulnerabilities: [{ ...FLAW, Metadata: metadata }] }]));
    assert.ok(answer.kind === 'report');
    assert.equal(answer.report.packages[0]?.vulnerabilities[0]?.cvss, undefined);
  });
}

for (const status of ['queued', 'failed', 'unsupported', 'manifest_layer_too_large']) {
  test(`the status ${status} is no report`, () => {
    assert.deepEqual(parse({ status, data: null }), { kind: 'none', status });
  });
}

test('what Quay would not say is refused', () => {
  for (const value of [scanned({}), scanned([null]), { status: 'scanned', data: null }, [], 'scanned']) {
    assert.throws(
      () => parse(value),
      (error) => isQuayctlError(error, 'protocol'),
      JSON.stringify(value),
    );
  }
});

test("a service's report of another image, or of a later version, is refused", () => {
  const read = (value: object) => () =>
    parseReportJson(Buffer.from(JSON.stringify(value)), DIGEST, 'service.example');
  const other = DIGEST.replace(/[0-9]/, 'a');
  assert.throws(read({ schemaVersion: 1, digest: other, packages: [] }), { code: 'protocol' });
  assert.throws(read({ schemaVersion: 2, digest: DIGEST, packages: [] }), { code: 'unsupported' });
});
