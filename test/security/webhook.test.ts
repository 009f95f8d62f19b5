import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { startServer } from '../helpers/http-server.ts';
import type { RunningProcess } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { parseKeptImage } from '../../src/serve/security/kept-images.ts';
import { securityStage, type SecurityStage } from './stage.ts';

const NEEDS = { skip: skipWithout('docker-registry') };
const KEY = 'a secret of two parties';
const SECRET_PATH = '/hooks/a-token-that-nobody-may-see';

interface News {
  readonly id: string;
  readonly repository: string;
  readonly tags: readonly string[];
  readonly digest: string;
  readonly total: number;
  readonly changes: readonly {
    readonly change: string;
    readonly flaw: { readonly name: string; readonly package: string; readonly severity: string };
  }[];
}

interface Receiver {
  readonly url: string;
  /** Status of the next answers, then 204. */
  readonly statuses: number[];
  /** What was taken; signatures are checked. */
  readonly taken: News[];
  /** Every attempt. */
  attempts: number;
  /** Resolves when so many were taken. */
  readonly until: (count: number) => Promise<void>;
}

async function receiver(t: TestContext): Promise<Receiver> {
  const [statuses, taken]: [number[], News[]] = [[], []];
  let changed = Promise.withResolvers<void>();
  const server = await startServer(t, (request, response) => {
    void text(request).then((body) => {
      result.attempts += 1;
      const wanted = `sha256=${createHmac('sha256', KEY).update(body).digest('hex')}`;
      const isGood = request.headers['x-hub-signature-256'] === wanted && request.url === SECRET_PATH;
      const status = isGood ? (statuses.shift() ?? 204) : 400;
      response.writeHead(status).end();
      if (status === 204) taken.push(JSON.parse(body) as News);
      changed.resolve();
      changed = Promise.withResolvers();
    });
  });
  const result: Receiver = {
    url: `${server.url}${SECRET_PATH}`,
    statuses,
    taken,
    attempts: 0,
    until: async (count) => {
      while (taken.length < count) await changed.promise;
    },
  };
  return result;
}

interface Watched extends SecurityStage {
  readonly receiver: Receiver;
  readonly start: () => Promise<{ readonly serve: RunningProcess; readonly url: string }>;
}

async function watched(t: TestContext): Promise<Watched> {
  const stage = await securityStage(t);
  const hook = await receiver(t);
  const server = await quayctlNode(t);
  const key = join(server.home, 'key');
  await writeFile(key, `${KEY}\n`);
  return {
    ...stage,
    receiver: hook,
    start: async () => {
      const serve = server.start([
        'serve',
        ...['--upstream', stage.registry.url],
        ...['--listen', '127.0.0.1:0'],
        ...['--clair', stage.clair.url],
        ...['--notify', hook.url, '--notify-key', key, '--notify-every', '1s'],
        '--debug',
      ]);
      const [url] = await serve.waitFor(/^http:\S+$/m);
      return { serve, url };
    },
  };
}

const NEW = { name: 'CVE-2026-3', severity: 'Critical' };
const MILD = { name: 'CVE-2026-4', severity: 'Low' };

test(
  'a change of a kept image is told once, signed, above the severity, after failures and over a restart',
  NEEDS,
  async (t) => {
    const { clair, image, receiver: hook, start } = await watched(t);
    const first = await start();
    assert.equal((await fetch(`${first.url}/c1/security/team/app/1.0?wait=30`)).status, 200);
    // Rounds go by in which nothing changes.
    const rounds = async (count: number): Promise<void> => {
      const target = clair.requests.length + 2 * count;
      while (clair.requests.length < target) await new Promise((resolve) => setTimeout(resolve, 50));
    };
    await rounds(2);
    assert.equal(hook.taken.length, 0, 'the first report is no news');

    hook.statuses.push(500, 503);
    clair.flaws = { ...clair.flaws, two: [NEW, MILD] };
    await hook.until(1);
    const [news] = hook.taken;
    assert.deepEqual(
      [news?.repository, news?.tags, news?.digest, news?.total],
      ['team/app', ['1.0'], image.manifest.digest, 1],
    );
    assert.deepEqual(
      news?.changes.map(({ change, flaw }) => [change, flaw.name, flaw.package, flaw.severity]),
      [['added', 'CVE-2026-3', 'two', 'Critical']],
    );
    await first.serve.waitFor(/event=notified/);
    await rounds(2);
    assert.equal(hook.taken.length, 1);
    assert.equal(hook.attempts, 3);

    // What the receiver does not take before the service ends is told by the next one.
    hook.statuses.push(...Array.from({ length: 100 }, () => 500));
    clair.flaws = { ...clair.flaws, two: [] };
    const failures = (): number => first.serve.stderr().split('event=notify-failed').length;
    const before = failures();
    while (failures() === before) await new Promise((resolve) => setTimeout(resolve, 50));
    await first.serve.kill('SIGKILL');
    hook.statuses.length = 0;
    const second = await start();
    await hook.until(2);
    assert.deepEqual(
      hook.taken[1]?.changes.map(({ change, flaw }) => [change, flaw.name]),
      [['removed', 'CVE-2026-3']],
    );
    await second.serve.waitFor(/event=notified/);
    await rounds(2);
    assert.equal(hook.taken.length, 2);
    assert.equal(new Set(hook.taken.map(({ id }) => id)).size, 2);
    const log = `${first.serve.stderr()}${second.serve.stderr()}`;
    assert.ok(!log.includes(KEY) && !log.includes(SECRET_PATH.slice(8)), 'neither key nor URL is logged');
  },
);

test('a webhook needs a key, a Clair and sense', NEEDS, async (t) => {
  const { node, registry, clair } = await securityStage(t);
  const key = join(node.home, 'key');
  await writeFile(key, KEY);
  const serve = ['serve', '--upstream', registry.url, '--listen', '127.0.0.1:0'];
  for (const flags of [
    ['--clair', clair.url, '--notify', 'http://a.example/'],
    ['--notify', 'http://a.example/', '--notify-key', key],
    ['--clair', clair.url, '--notify-key', key],
    ['--clair', clair.url, '--notify', 'mail:me', '--notify-key', key],
    ['--clair', clair.url, '--notify', 'http://a.example/', '--notify-key', key, '--notify-every', '10ms'],
    ['--clair', clair.url, '--notify', 'http://a.example/', '--notify-key', key, '--notify-severity', 'bad'],
  ]) {
    assert.equal((await node.run([...serve, ...flags])).code, 2, flags.join(' '));
  }
  const missing = await node.run([
    ...serve,
    '--clair',
    clair.url,
    '--notify',
    'http://a.example/',
    '--notify-key',
    `${key}2`,
  ]);
  assert.equal(missing.code, 1, missing.stderr);
});

test('a torn file of a kept image counts as absent', () => {
  for (const bytes of ['', '{', 'null', '[]', '{"version":1}', '{"version":2,"repository":"a"}']) {
    assert.equal(parseKeptImage(Buffer.from(bytes)), undefined, bytes);
  }
});
