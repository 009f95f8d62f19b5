// What holds for every Clair: the stand-in, and with TRY_CLAIR=URL (`scripts/try-clair`) a real one.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { startClair } from '../helpers/clair.ts';
import { DEBIAN_FLAWS } from '../helpers/debian-flaws.ts';
import { debianRootTar } from '../helpers/debian.ts';
import { TestLayout } from '../helpers/images.ts';
import type { Output } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';

interface FullReport {
  readonly digest: string;
  readonly source: { readonly kind: string };
  readonly summary: {
    readonly packages: number;
    readonly total: number;
    readonly fixable: number;
    readonly upgrades: number;
    readonly removed: number;
    readonly bySeverity: readonly { readonly severity: string; readonly count: number }[];
  };
  readonly packages: readonly { readonly name: string; readonly count: number; readonly impact: number }[];
  readonly vulnerabilities: readonly {
    readonly name: string;
    readonly package: string;
    readonly version: string;
  }[];
}

const real = process.env['TRY_CLAIR'] ?? '';
const realImage = process.env['TRY_CLAIR_IMAGE'] ?? '';
const NEEDS = realImage === '' ? ['docker-registry', 'root', 'debootstrap'] : [];

describe('any Clair', { skip: skipWithout(...NEEDS) }, () => {
  const scope = suiteScope();
  let node: QuayctlNode;
  let image = realImage;
  let flags: readonly string[];
  let report: FullReport;

  const security = (...more: readonly string[]): Promise<Output> =>
    node.run(['security', image, ...flags, ...more]);

  before(async () => {
    const url = real === '' ? (await startClair(scope, DEBIAN_FLAWS)).url : real;
    const { QUAYCTL_CLAIR_KEY: key, TRY_CLAIR_ISSUER: issuer } = process.env;
    flags = [
      ...['--clair', url, '--security-wait', '15m'],
      ...(key === undefined ? [] : ['--clair-key', key]),
      ...(issuer === undefined ? [] : ['--clair-issuer', issuer]),
    ];
    node = await quayctlNode(scope);
    if (image === '') {
      const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
      const { manifest } = await layout.addImage({ layers: [{ tarFile: await debianRootTar() }] });
      const registry = await startRegistry(scope);
      await pushImage(layout, manifest, { url: registry.url, repository: 'debian', tag: '1' });
      image = `${registry.host}/debian:1`;
    }
    const output = await security('--json');
    assert.equal(output.code, 0, output.stderr);
    report = JSON.parse(output.stdout) as FullReport;
  });

  test('it finds the packages of a Debian, and its sums fit each other', () => {
    const { summary, packages, vulnerabilities, source } = report;
    assert.equal(source.kind, 'clair');
    assert.ok(summary.packages > 50, `${summary.packages} packages`);
    assert.equal(
      summary.bySeverity.reduce((sum, { count }) => sum + count, 0),
      summary.total,
    );
    assert.equal(vulnerabilities.length, summary.total);
    assert.equal(
      packages.reduce((sum, { count }) => sum + count, 0),
      summary.total,
    );
    assert.deepEqual([summary.removed <= summary.total, summary.removed], [true, summary.fixable]);
    const impact = packages.reduce((sum, each) => sum + each.impact, 0);
    assert.ok(impact >= 0 && impact <= 1.000_001, `${impact}`);
    const names = vulnerabilities.map(({ name, package: of, version }) => `${name} ${of} ${version}`);
    assert.equal(new Set(names).size, names.length, 'each flaw of a package once');
  });

  test('it says the same again, whatever the order in which Clair says it', async () => {
    const again = await security('--json');
    assert.deepEqual(JSON.parse(again.stdout), report);
  });

  test('text, SARIF and --fail-on are of the same report', async () => {
    const { total, upgrades, removed } = report.summary;
    const text = await security();
    const first = text.stdout.split('\n', 1)[0] ?? '';
    const expected =
      upgrades > 0
        ? new RegExp(`^${upgrades} upgrades? removes? ${removed} of ${total} `)
        : new RegExp(total > 0 ? `^No upgrade removes any of ${total} ` : '^No known vulnerabilities ');
    assert.match(first, expected);
    const sarif = JSON.parse((await security('--sarif')).stdout) as { runs: { results: unknown[] }[] };
    assert.equal(sarif.runs[0]?.results.length, total);
    assert.equal((await security('--fail-on', 'unknown')).code, total > 0 ? 7 : 0);
  });
});
