import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startClair } from '../helpers/clair.ts';
import { DEBIAN_FLAWS } from '../helpers/debian-flaws.ts';
import { debianRootTar } from '../helpers/debian.ts';
import { TestLayout } from '../helpers/images.ts';
import { watchMemory } from '../helpers/memory.ts';
import type { Output } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startQuay } from '../helpers/quay.ts';
import { startRegistry } from '../helpers/registry.ts';
import { assertFails } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startTokenServer } from '../helpers/token-server.ts';
import { BASIC, logIn, PASSWORD, reportOf, securityStage as stage } from './stage.ts';
import { statusLayer } from './status-layer.ts';

const NEEDS = { skip: skipWithout('docker-registry') };

test(
  'a real Debian: the report names what four upgrades remove',
  { skip: skipWithout('docker-registry', 'root', 'debootstrap') },
  async (t) => {
    const spec = { layers: [{ tarFile: await debianRootTar() }] };
    const { security, clair, image } = await stage(t, { spec, flaws: DEBIAN_FLAWS });
    const text = await security('--clair', clair.url);
    assert.equal(text.code, 0, text.stderr);
    t.diagnostic(text.stdout);
    assert.ok(text.stdout.startsWith('4 upgrades remove 11 of 23 vulnerabilities\n'), text.stdout);
    assert.match(text.stdout, /^libc6 +\S+ +Critical +5 +4 +\S+\+deb2 +\d+ % +layer 0$/m);
    assert.match(text.stdout, /^Candidates for removal.*: perl-base \(4\), login \(3\)$/m);
    assert.match(text.stdout, /^CVE-2026-10062 +Medium +4\.4 +coreutils /m);

    const json = reportOf(await security('--clair', clair.url, '--json', '--sort', 'count'));
    assert.deepEqual(
      [json.digest, json.source, json.summary.total, json.summary.upgrades, json.summary.removed],
      [image.manifest.digest, { kind: 'clair', host: clair.host }, 23, 4, 11],
    );
    assert.equal(json.packages[0]?.command, 'layer 0');
    assert.equal(json.vulnerabilities[0]?.name, 'CVE-2026-10001');
    assert.equal(clair.fetched.length, 1, 'Clair fetched the layer once');
  },
);

test('filters, and --fail-on with exit code 7 behind a whole report', NEEDS, async (t) => {
  const { security, clair } = await stage(t);
  const ask = (...args: string[]): Promise<Output> => security('--clair', clair.url, ...args);
  const names = (output: Output, code: number): string[] =>
    reportOf(output, code).vulnerabilities.map(({ name }) => name);
  assert.deepEqual(names(await ask('--json', '--severity', 'high'), 0), ['CVE-2026-1']);
  assert.deepEqual(names(await ask('--json', '--fixable', '--fail-on', 'critical'), 0), ['CVE-2026-1']);
  const over = await ask('--json', '--fail-on', 'high');
  assert.deepEqual(names(over, 7), ['CVE-2026-1', 'CVE-2026-2']);
  assert.deepEqual(reportOf(over, 7).failOn, { severity: 'High', count: 1 });
  assert.match(over.stderr, /^quayctl: 1 vulnerability is high or worse in /m);
  const low = await ask('--fixable', '--fail-on', 'low');
  assert.equal(low.code, 7, 'the flaw that is mended counts');
  assert.match(low.stdout, /^shown: fixable \(1 of 2\)$/m);
  const sarif = await ask('--sarif');
  assert.equal(sarif.code, 0, sarif.stderr);
  const log = JSON.parse(sarif.stdout) as { runs: { results: unknown[] }[] };
  assert.equal(log.runs[0]?.results.length, 2);
});

test('what is asked for wrongly is exit code 2, what is not there 4', NEEDS, async (t) => {
  const { security, clair, node, registry } = await stage(t);
  for (const wrong of [
    ['--severity', 'awful'],
    ['--fail-on', 'none'],
    ['--sort', 'name'],
    ['--json', '--sarif'],
    ['--security-wait', '0'],
    ['--clair', 'clair:6060'],
    ['--clair', 'http://u:p@clair.example'],
    ['--clair-key', 'key'],
  ]) {
    assert.equal((await security(...wrong)).code, 2, wrong.join(' '));
  }
  const missing = await node.run([
    'security',
    `${registry.host}/team/app:2.0`,
    '--clair',
    clair.url,
    '--json',
  ]);
  assertFails(missing, 4, 'not-found');
});

test('without anybody who has a report the exit code is 1, and the reason is told', NEEDS, async (t) => {
  const { security, clair } = await stage(t);
  const nobody = await security('--json');
  assertFails(nobody, 1, 'no-report');
  assert.match(nobody.stderr, /is not a torrent service.*is not a Quay registry/s);
  assert.match(nobody.stderr, /^hint: --clair URL/m);
  const down = await security('--clair', 'http://127.0.0.1:1', '--json');
  assertFails(down, 1, 'no-report');
  assert.match(down.stderr, /127\.0\.0\.1:1 cannot be reached: connection refused/);
  Object.assign(clair.behaviour, { early: true, stepMs: 60_000 });
  const slow = await security('--clair', clair.url, '--security-wait', '2s', '--json');
  assertFails(slow, 1, 'no-report');
  assert.match(slow.stderr, /within 2s; the last to be waited for was Clair at \S+ \(CheckManifest\)/);
  clair.behaviour.psk = { key: Buffer.from('k'), issuers: ['quay'] };
  const refused = await security('--clair', clair.url, '--json');
  assertFails(refused, 1, 'no-report');
  assert.match(refused.stderr, /answers 401/);
});

test('the key file is that of Clair, and stays out of everything that is said', NEEDS, async (t) => {
  const { security, clair, node } = await stage(t);
  const key = Buffer.from('a key that nobody may see');
  clair.behaviour.psk = { key, issuers: ['our-issuer'] };
  const file = join(node.home, 'psk');
  await writeFile(file, `${key.toString('base64')}\n`);
  const flags = ['--clair', clair.url, '--clair-key', file, '--clair-issuer', 'our-issuer', '--debug'];
  const output = await security(...flags, '--json');
  assert.equal(reportOf(output).summary.total, 2);
  assert.ok(!`${output.stdout}${output.stderr}`.includes(key.toString('base64')));
  assert.doesNotMatch(output.stderr, /eyJ/);
  await writeFile(file, 'no base64!');
  const wrong = await security(...flags, '--json');
  assertFails(wrong, 1, 'credentials');
  assert.ok(!wrong.stderr.includes('no base64!'));
});

test('a private image with Clair alone is exit code 1, and Clair gets no credential', NEEDS, async (t) => {
  const { security, clair, node, registry } = await stage(t, { isPrivate: true });
  await logIn(node, registry.host);
  const output = await security('--clair', clair.url, '--json');
  assertFails(output, 1, 'no-report');
  assert.match(output.stderr, /the image is private, and Clair is never given your credential/);
  assert.match(output.stderr, /^hint: name a torrent service/m);
  assert.deepEqual(clair.fetched, []);
  assert.deepEqual(
    clair.requests.filter((line) => line.startsWith('POST')),
    [],
  );
});

test(
  'a private image with a torrent service: Clair gets its signed URLs and nothing else',
  NEEDS,
  async (t) => {
    const { security, clair, node, registry } = await stage(t, { isPrivate: true });
    await logIn(node, registry.host);
    const server = await quayctlNode(t);
    await logIn(server, registry.host);
    const serve = server.start(['serve', '--upstream', registry.url, '--listen', '127.0.0.1:0']);
    const [url] = await serve.waitFor(/^http:\S+$/m);
    const flags = ['--torrent-service', url, '--send-credentials', '--clair', clair.url, '--json', '--debug'];
    const output = await security(...flags);
    assert.deepEqual([reportOf(output).source.kind, reportOf(output).summary.total], ['clair', 2]);
    assert.equal(clair.fetched.length, 1);
    for (const { uri, headers } of clair.fetched) {
      assert.ok(uri.startsWith(`${url}/ws/team/app/blobs/`), uri);
      assert.deepEqual(headers, {});
    }
    assert.doesNotMatch(output.stderr, /signature=(?!\[redacted\])/);
    assert.ok(!output.stderr.includes(PASSWORD));
  },
);

test('a public image behind a token server: Clair gets the token that anybody gets', NEEDS, async (t) => {
  const tokens = await startTokenServer(t, { users: { user: PASSWORD }, anonymousPull: true });
  const registry = await startRegistry(t, { auth: tokens.auth });
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [statusLayer({ one: '1.0' })] });
  const authorization = tokens.authorization('repository:team/app:pull,push');
  await pushImage(layout, image.manifest, {
    url: registry.url,
    repository: 'team/app',
    tag: '1',
    authorization,
  });
  const clair = await startClair(t, { one: [{ name: 'CVE-2026-1', severity: 'High' }] });
  const node = await quayctlNode(t);
  await logIn(node, registry.host);
  const output = await node.run(['security', `${registry.host}/team/app:1`, '--json', '--clair', clair.url]);
  assert.equal(reportOf(output).summary.total, 1);
  assert.deepEqual(
    tokens.requests.toSorted(),
    ['GET repository:team/app:pull', 'GET repository:team/app:pull user'],
    'one token for Clair without a name, one for the user',
  );
  const [fetched, ...others] = clair.fetched;
  assert.match(fetched?.headers['Authorization'] ?? '', /^Bearer \S+$/);
  assert.equal(others.length, 0);
});

const quayData = (name: string): object => ({
  Layer: {
    Features: [
      {
        Name: name,
        Version: '1',
        AddedBy: '',
        Vulnerabilities: [{ Name: 'CVE-2026-9', Severity: 'Medium' }],
      },
    ],
  },
});

test("Quay's own API is asked last, and waited for while the image is queued", NEEDS, async (t) => {
  const { registry, image, node } = await stage(t);
  const quay = await startQuay(t, {
    registry: registry.url,
    reports: { [image.manifest.digest]: quayData('three') },
  });
  quay.statuses.push('queued');
  const name = `${quay.host}/team/app:1.0`;
  const report = reportOf(await node.run(['security', name, '--json']));
  assert.deepEqual([report.source, report.packages[0]?.name], [{ kind: 'quay', host: quay.host }, 'three']);
  assert.deepEqual(quay.asked, [undefined, undefined]);
  quay.statuses.push('unsupported');
  const none = await node.run(['security', name, '--json']);
  assertFails(none, 1, 'no-report');
  assert.match(none.stderr, /has no security report of it: unsupported/);
});

test('a private Quay is shown the password that its registry is shown, as Basic', NEEDS, async (t) => {
  const { registry, image, node } = await stage(t, { isPrivate: true });
  const reports = { [image.manifest.digest]: quayData('three') };
  const quay = await startQuay(t, { registry: registry.url, reports, authorization: BASIC });
  await logIn(node, quay.host);
  const output = await node.run(['security', `${quay.host}/team/app:1.0`, '--json']);
  assert.equal(reportOf(output).source.kind, 'quay');
  assert.deepEqual(quay.asked, [undefined, BASIC]);
});

test('escape sequences of a report do not reach the terminal', NEEDS, async (t) => {
  const evil = '\u001b]0;owned\u0007\u001b[2J\u202E';
  const flaws = {
    one: [
      {
        name: `CVE${evil}`,
        severity: 'High',
        fixed: evil,
        links: `https://a.example/${evil}`,
        description: evil,
      },
    ],
  };
  const { security, clair } = await stage(t, { flaws });
  for (const form of ['--quiet', '--json', '--sarif']) {
    const { stdout, code } = await security('--clair', clair.url, form);
    assert.equal(code, 0);
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u202e]/, form);
  }
});

test('a report of 500 flaws takes less than 150 MB', NEEDS, async (t) => {
  const description = 'A flaw of which much is to be said. '.repeat(40);
  const flaws = Array.from({ length: 500 }, (_, at) => ({
    name: `CVE-2026-${at}`,
    severity: ['Low', 'Medium', 'High'][at % 3] ?? '',
    fixed: at % 2 === 0 ? '+1' : undefined,
    cvss: at % 10,
    description,
    links: 'https://a.example/ https://b.example/',
  })).map(({ fixed, ...flaw }) => (fixed === undefined ? flaw : { ...flaw, fixed }));
  const { name, clair, node } = await stage(t, { flaws: { one: flaws } });
  const asked = node.start(['security', name, '--clair', clair.url]);
  const peak = await watchMemory(asked);
  assert.equal((await asked.exited).code, 0, asked.stderr());
  assert.match(asked.stdout(), /^1 upgrade removes 250 of 500 vulnerabilities$/m);
  t.diagnostic(`${Math.round(peak / 1e6)} MB`);
  assert.ok(peak < 150e6, `${peak} bytes`);
});
