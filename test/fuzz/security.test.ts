import assert from 'node:assert/strict';
import { parseClairReport, parseIndexState } from '../../src/security/clair-report.ts';
import { parseQuayReport } from '../../src/security/quay-report.ts';
import { parseReportJson, reportJson } from '../../src/security/report-json.ts';
import type { SecurityReport } from '../../src/security/report.ts';
import { reportText } from '../../src/security/text.ts';
import { compareVersions } from '../../src/security/versions.ts';
import { flawRows, packageRows, summaryOf } from '../../src/security/views.ts';
import { parseKeptImage } from '../../src/serve/security/kept-images.ts';
import { fuzzParsers, JSON_PIECES } from '../helpers/corpus.ts';
import { CLAIR, DIGEST } from '../security/report-files.ts';

const CODES = ['protocol', 'limit', 'unsupported'] as const;
const PIECES = [
  ...JSON_PIECES,
  '"7":',
  '"__proto__":',
  '"1"',
  '\\u001b[2J',
  '\\u202e',
  'fixed=',
  '%',
  `"${DIGEST}"`,
];
const ALL = { fixableOnly: false, atLeast: 'Unknown' } as const;

/** Whatever was read can be shown, has nothing in it that a terminal obeys, and is the same by way of our own JSON. */
function check(report: SecurityReport): void {
  const text = reportText({
    image: 'app:1',
    report,
    summary: summaryOf(report),
    packages: packageRows(report, 'impact', ALL, new Map()),
    flaws: flawRows(report, ALL),
    filter: '',
  });
  assert.doesNotMatch(text, /[^\P{Cc}\n]|\p{Cf}/u);
  const bytes = Buffer.from(JSON.stringify(reportJson(report)));
  assert.deepEqual(parseReportJson(bytes, DIGEST, 'service.example').packages, report.packages);
}

fuzzParsers({
  "Clair's vulnerability reports": {
    corpus: 'security-reports',
    pieces: PIECES,
    codes: CODES,
    parse: (bytes) => check(parseClairReport(bytes, DIGEST, CLAIR)),
  },
  "Clair's index reports": {
    corpus: 'security-reports',
    pieces: PIECES,
    codes: CODES,
    parse: (bytes) => parseIndexState(bytes, DIGEST),
  },
  "Quay's reports": {
    corpus: 'security-reports',
    pieces: PIECES,
    codes: CODES,
    parse: (bytes) => {
      const answer = parseQuayReport(bytes, DIGEST, CLAIR);
      if (answer.kind === 'report') check(answer.report);
    },
  },
  "a torrent service's reports": {
    corpus: 'security-reports',
    pieces: PIECES,
    codes: CODES,
    parse: (bytes) => check(parseReportJson(bytes, DIGEST, 'service.example')),
  },
  'files of kept images': {
    corpus: 'security-reports',
    pieces: PIECES,
    codes: [],
    parse: (bytes) => parseKeptImage(bytes),
  },
  versions: {
    corpus: 'security-reports',
    codes: [],
    parse: (bytes) => {
      const [a, b] = [bytes.toString('latin1'), bytes.subarray(7).toString('latin1')];
      assert.equal(Math.sign(compareVersions(a, b)), -Math.sign(compareVersions(b, a)));
    },
  },
});
