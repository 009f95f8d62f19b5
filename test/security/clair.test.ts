import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { Http } from '../../src/http/http.ts';
import type { Digest } from '../../src/image/digest.ts';
import { Clair, type ClairQuestion } from '../../src/registry/security/clair.ts';
import type { SecurityReport } from '../../src/security/report.ts';
import { startClair, type ClairStandIn } from '../helpers/clair.ts';
import { startServer } from '../helpers/http-server.ts';
import { TestLayout } from '../helpers/images.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { statusLayer } from './status-layer.ts';

interface Stage {
  readonly standIn: ClairStandIn;
  readonly digest: Digest;
  /** Asks a new client, as another process would. */
  readonly report: (
    more?: Partial<ClairQuestion> & { key?: Uint8Array; signal?: AbortSignal },
  ) => Promise<SecurityReport>;
  readonly client: (key?: Uint8Array) => Clair;
  readonly layers: ClairQuestion['layers'];
}

async function stage(t: TestContext): Promise<Stage> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({
    layers: [statusLayer({ one: '1.0', two: '2.0' }), statusLayer({ three: '3' })],
  });
  const files = await startServer(t, (request, response) => {
    void readFile(layout.blobPath(request.url?.slice(1) ?? '')).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  const standIn = await startClair(t, { one: [{ name: 'CVE-2026-1', severity: 'High', fixed: '+1' }] });
  const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
  t.after(() => http.close());
  const digest = image.manifest.digest as Digest;
  const layers = () =>
    Promise.resolve(
      image.layers.map((layer) => ({
        digest: layer.digest as Digest,
        url: `${files.url}/${layer.digest}`,
        headers: {},
      })),
    );
  const client = (key?: Uint8Array): Clair =>
    new Clair({ url: new URL(standIn.url), key, issuer: 'quay', http });
  return {
    standIn,
    digest,
    layers,
    client,
    report: ({ key, signal = AbortSignal.timeout(20_000), ...more } = {}) =>
      client(key).report({ digest, layers, ...more }, signal),
  };
}

const flawsOf = ({ packages }: SecurityReport): string[] =>
  packages.flatMap(({ name, vulnerabilities }) => vulnerabilities.map((flaw) => `${name} ${flaw.name}`));

test('an image that Clair has never seen is indexed and reported', async (t) => {
  const { report, standIn, digest } = await stage(t);
  const { packages, source, digest: told } = await report();
  assert.deepEqual([source, told], [{ kind: 'clair', host: standIn.host }, digest]);
  assert.deepEqual(
    packages.map(({ name, version, vulnerabilities }) => [name, version, vulnerabilities.length]),
    [
      ['one', '1.0', 1],
      ['three', '3', 0],
      ['two', '2.0', 0],
    ],
  );
});

test('what is indexed already is not fetched again, until the indexers change', async (t) => {
  const { client, standIn, digest, layers } = await stage(t);
  const signal = AbortSignal.timeout(20_000);
  const clair = client();
  await clair.report({ digest, layers }, signal);
  assert.equal(standIn.fetched.length, 2);
  standIn.requests.length = 0;
  await clair.report({ digest, layers }, signal);
  assert.deepEqual(standIn.requests, [
    'GET /indexer/api/v1/index_state',
    `GET /matcher/api/v1/vulnerability_report/${digest}`,
  ]);
  await client().report({ digest, layers }, signal);
  assert.equal(standIn.fetched.length, 2, 'by another process neither');
  standIn.changeIndexers();
  await clair.report({ digest, layers }, signal);
  assert.equal(standIn.fetched.length, 4);
});

test('the states of an index that is being made are told, and waited for', async (t) => {
  const { report, standIn } = await stage(t);
  Object.assign(standIn.behaviour, { early: true, stepMs: 250, loading: 2 });
  const steps: string[] = [];
  assert.deepEqual(flawsOf(await report({ onStep: (step) => steps.push(step) })), ['one CVE-2026-1']);
  assert.ok(steps.includes('CheckManifest') && steps.includes('LoadingVulnerabilities'), steps.join());
});

test('a Clair that is busy is asked again', async (t) => {
  const { report, standIn } = await stage(t);
  standIn.behaviour.busy = 2;
  assert.deepEqual(flawsOf(await report()), ['one CVE-2026-1']);
});

for (const failure of ['report', 'status'] as const) {
  test(`a layer that Clair cannot fetch is the reason, told by ${failure}`, async (t) => {
    const { report, standIn } = await stage(t);
    standIn.behaviour.failure = failure;
    const layers = () =>
      Promise.resolve([{ digest: 'sha256:00' as Digest, url: `${standIn.url}/nothing`, headers: {} }]);
    await assert.rejects(report({ layers }), {
      code: failure === 'report' ? 'no-report' : 'unreachable',
      message: /failed to fetch layers.*404/,
    });
  });
}

test('signed requests are answered, others are not, and the key is in no message', async (t) => {
  const { report, standIn } = await stage(t);
  const key = randomBytes(32);
  standIn.behaviour.psk = { key, issuers: ['clairctl', 'quay'] };
  assert.deepEqual(flawsOf(await report({ key })), ['one CVE-2026-1']);
  await assert.rejects(report(), { code: 'unauthorized', hint: /--clair-key/ });
  await assert.rejects(report({ key: randomBytes(32) }), { code: 'unauthorized', hint: /auth\.psk/ });
  standIn.behaviour.psk = { key, issuers: ['another'] };
  await assert.rejects(report({ key }), { code: 'unauthorized' });
});

test('layers that Clair cannot be let at do not matter where it knows the image already', async (t) => {
  const { report } = await stage(t);
  const layers = () => Promise.reject(new Error('private'));
  await assert.rejects(report({ layers }), { message: 'private' });
  await report();
  assert.deepEqual(flawsOf(await report({ layers })), ['one CVE-2026-1']);
});

test('an index that never ends, and a Clair that never answers, end with the signal', async (t) => {
  const { report, standIn } = await stage(t);
  Object.assign(standIn.behaviour, { early: true, stepMs: 60_000 });
  await assert.rejects(report({ signal: AbortSignal.timeout(700) }), { name: 'TimeoutError' });
  standIn.behaviour.intercept = () => true;
  await assert.rejects(report({ signal: AbortSignal.timeout(300) }), { name: 'TimeoutError' });
});

for (const [what, status, headers, body, code] of [
  ['leads elsewhere without end', 302, { location: '/' }, '', 'protocol'],
  ['is no Clair', 200, {}, '<html>', 'protocol'],
  ['knows no such path', 404, {}, '', 'protocol'],
  ['answers 500 for good', 500, {}, '{"message":"\u001b[2Jdatabase down"}', 'unreachable'],
  ['wants us to come back in an hour', 503, { 'retry-after': '3600' }, '', 'unreachable'],
  ['limits our requests', 429, { 'retry-after': '0' }, '', 'rate-limited'],
] as const) {
  test(`a server that ${what}`, async (t) => {
    const { report, standIn } = await stage(t);
    standIn.behaviour.intercept = (_, response) => {
      response.writeHead(status, headers).end(body);
      return true;
    };
    await assert.rejects(
      report(),
      (error: Error & { code?: string }) => error.code === code && !error.message.includes('\u001b'),
    );
  });
}

test('a report about another image, and one that never ends, are refused', async (t) => {
  const { report, standIn, digest } = await stage(t);
  let body: () => string | undefined = () =>
    JSON.stringify({ manifest_hash: digest.replace(/.$/, 'x'), packages: {} });
  standIn.behaviour.intercept = ({ url }, response) => {
    if (url?.startsWith('/matcher/') !== true) return false;
    response.writeHead(200);
    const chunk = body();
    if (chunk !== undefined) response.end(chunk);
    else {
      const more = (): void => {
        while (response.write(Buffer.alloc(1_000_000, ' '))) if (response.destroyed) return;
        response.once('drain', more);
      };
      more();
    }
    return true;
  };
  await assert.rejects(report(), { code: 'protocol', message: /is about sha256/ });
  body = () => undefined;
  await assert.rejects(report(), { code: 'limit', message: /larger than/ });
});

test('a Clair that is down is told within seconds', async (t) => {
  const { layers, digest } = await stage(t);
  const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
  t.after(() => http.close());
  const clair = new Clair({ url: new URL('http://127.0.0.1:1'), issuer: 'quay', http });
  await assert.rejects(clair.report({ digest, layers }, AbortSignal.timeout(20_000)), {
    code: 'unreachable',
  });
});
