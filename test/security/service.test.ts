import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { Claimants } from '../../src/base/turns.ts';
import { digestFromHex } from '../../src/image/digest.ts';
import type { Clair } from '../../src/registry/security/clair.ts';
import { ImageReports } from '../../src/serve/security/image-reports.ts';
import type { Permission } from '../../src/upstream/permission.ts';
import type { Output, RunningProcess } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { assertFails } from '../helpers/stage.ts';
import { BASIC, logIn, reportOf, securityStage, type SecurityStage } from './stage.ts';

const NEEDS = { skip: skipWithout('docker-registry') };

interface Served extends SecurityStage {
  readonly serve: RunningProcess;
  readonly url: string;
  /** `GET /c1/security/team/app/...` */
  readonly get: (rest: string, authorization?: string) => Promise<Response>;
  readonly ask: (...args: readonly string[]) => Promise<Output>;
}

async function served(
  t: TestContext,
  {
    isPrivate = false,
    isLoggedIn = isPrivate,
    withClair = true,
    flags = [],
  }: {
    isPrivate?: boolean;
    isLoggedIn?: boolean;
    withClair?: boolean;
    flags?: readonly string[];
  } = {},
): Promise<Served> {
  const stage = await securityStage(t, { isPrivate });
  const { registry, clair } = stage;
  const server = await quayctlNode(t);
  if (isLoggedIn) await logIn(server, registry.host);
  const serve = server.start([
    'serve',
    ...['--upstream', registry.url],
    ...['--listen', '127.0.0.1:0'],
    ...(withClair ? ['--clair', clair.url] : []),
    ...flags,
  ]);
  const [url] = await serve.waitFor(/^http:\S+$/m);
  return {
    ...stage,
    serve,
    url,
    get: (rest, authorization) =>
      fetch(`${url}/c1/security/team/app/${rest}`, {
        headers: authorization === undefined ? {} : { authorization },
      }),
    ask: (...args) => stage.security('--torrent-service', url, '--send-credentials', '--json', ...args),
  };
}

const posts = ({ clair }: Served): number => clair.requests.filter((line) => line.startsWith('POST')).length;

test(
  'the service reports private images to those who may pull them, and Clair gets signed URLs alone',
  NEEDS,
  async (t) => {
    const stage = await served(t, { isPrivate: true });
    const { ask, node, registry, url, clair, get, image } = stage;
    assert.equal((await get('1.0')).status, 401);
    assert.equal((await get('1.0', `Basic ${Buffer.from('user:wrong').toString('base64')}`)).status, 401);
    assert.deepEqual(clair.requests, [], 'nothing is asked for strangers');
    await logIn(node, registry.host);
    const report = reportOf(await ask());
    assert.deepEqual(
      [report.source, report.digest, report.summary.total],
      [{ kind: 'torrent-service', host: new URL(url).host }, image.manifest.digest, 2],
    );
    for (const { uri, headers } of clair.fetched) {
      assert.ok(uri.startsWith(`${url}/ws/team/app/blobs/`), uri);
      assert.deepEqual(headers, {});
    }
    const answer = await get(image.manifest.digest, BASIC);
    assert.equal(answer.headers.get('cache-control'), 'private, no-store');
    const json = (await answer.json()) as { digest: string; source: object; packages: unknown[] };
    assert.deepEqual(
      [json.digest, json.source, json.packages.length],
      [image.manifest.digest, { kind: 'clair', host: clair.host }, 2],
    );
  },
);

test('a slow Clair: 202 with its step, and all who wait are answered by one index', NEEDS, async (t) => {
  const stage = await served(t);
  Object.assign(stage.clair.behaviour, { early: true, stepMs: 300 });
  const waiting = await stage.get('1.0');
  assert.deepEqual([waiting.status, waiting.headers.get('retry-after')], [202, '1']);
  assert.ok('step' in ((await waiting.json()) as object));
  const answers = await Promise.all(Array.from({ length: 20 }, () => stage.get('1.0?wait=30')));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  const output = await stage.ask();
  assert.equal(reportOf(output).source.kind, 'torrent-service');
  assert.equal(posts(stage), 1);
});

test('what cannot be reported is said: by the service, and by who asks it', NEEDS, async (t) => {
  const { get, ask, clair, image } = await served(t);
  for (const [path, status] of [
    ['2.0', 404],
    ['1.0?platform=none', 400],
    ['1.0?ns=elsewhere.example', 404],
    ['a/../b', 404],
    [`${image.manifest.digest}x`, 404],
  ] as const) {
    assert.equal((await get(path)).status, status, path);
  }
  clair.behaviour.intercept = (_, response) => {
    response.writeHead(403).end();
    return true;
  };
  const refused = await get('1.0?wait=20');
  assert.equal(refused.status, 502, 'that Clair refuses the service is not the business of its callers');
  assert.match(await refused.text(), /Clair at \S+ answers 403/);
  assertFails(await ask(), 1, 'no-report');
});

test('a service that may not read the image, and one without Clair, name the reason', NEEDS, async (t) => {
  const blind = await served(t, { isPrivate: true, isLoggedIn: false });
  const answer = await blind.get('1.0?wait=20', BASIC);
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /may not read layer .*--upstream-auth/);
  const without = await served(t, { withClair: false });
  const output = await without.ask();
  assertFails(output, 1, 'no-report');
  assert.match(output.stderr, /has no security report: it was started without --clair/);
  assert.equal(
    reportOf(await without.ask('--clair', without.clair.url)).source.kind,
    'clair',
    'the next is asked',
  );
});

test('reports are bounded by site and account, and no site has all places', async (t) => {
  const asked: string[] = [];
  const clair = {
    host: 'clair.test',
    report: ({ digest }: { digest: string }, signal: AbortSignal) => {
      asked.push(digest);
      return once(signal, 'abort');
    },
  } as unknown as Clair;
  const reports = new ImageReports({
    clair,
    own: {} as Permission,
    webSeed: () => '',
    listener: () => undefined,
  });
  t.after(() => reports.close());
  let count = 0;
  const report = (...claimants: Claimants): string => {
    const digest = digestFromHex((++count).toString(16).padStart(64, '0'));
    const found = reports.report({ repository: 'team/app', digest, layers: [] }, claimants);
    if ('done' in found) found.done.catch(() => undefined);
    return digest;
  };
  const [first] = Array.from({ length: 8 }, () => report('2001:db8::/64', 'subject one'));
  assert.throws(() => report('2001:db8::/64'), { code: 'limit' });
  assert.throws(() => report('192.0.2.1', 'subject one'), { code: 'limit' });
  const other = report('192.0.2.1', 'subject two');
  await setImmediate();
  assert.deepEqual(asked, [first, other]);
});
