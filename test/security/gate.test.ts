import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Http } from '../../src/http/http.ts';
import { Clair } from '../../src/registry/security/clair.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { openRktStage } from '../helpers/rkt-stage.ts';
import { assertFails, receiptOf } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { securityStage as stage } from './stage.ts';
import { statusLayer } from './status-layer.ts';

const NEEDS = { skip: skipWithout('docker-registry') };
const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

test(
  'an archive: what is above the worst that is let in is refused with exit code 7, and nothing is written',
  NEEDS,
  async (t) => {
    const { node, name, clair, image } = await stage(t);
    const file = join(node.home, 'image.tar');
    const pull = (...flags: string[]) =>
      node.run(['torrent', 'pull', name, '--output', file, '--json', '--clair', clair.url, ...flags]);
    const refused = await pull('--max-severity', 'medium');
    assertFails(refused, 7, 'refused');
    assert.match(refused.stderr, /has 1 vulnerability above medium: CVE-2026-1 \(High\) in one 1\.0/);
    assert.match(refused.stderr, /^hint: `quayctl security /m);
    assert.equal(await isThere(file), false);
    const reported = clair.requests.filter((line) => line.includes('/vulnerability_report/'));
    assert.ok(
      reported.every((line) => line.endsWith(image.manifest.digest)),
      'of the very manifest',
    );
    const taken = receiptOf(await pull('--max-severity', 'high'));
    assert.equal(taken.total.fromStore, taken.total.size, 'the layers were fetched meanwhile, and kept');
    assert.equal(await isThere(file), true);
  },
);

test('no report in time, or from nobody, is no yes', NEEDS, async (t) => {
  const { node, name, clair } = await stage(t);
  const pull = (...flags: string[]) =>
    node.run(['torrent', 'pull', name, '--json', '--max-severity', 'high', ...flags]);
  assertFails(await pull(), 1, 'no-report');
  assertFails(await pull('--clair', 'http://127.0.0.1:1'), 1, 'no-report');
  Object.assign(clair.behaviour, { early: true, stepMs: 60_000 });
  const late = await pull('--clair', clair.url, '--security-wait', '1s');
  assertFails(late, 1, 'no-report');
  assert.match(late.stderr, /within 1s/);
  assert.match(late.stderr, /^hint: .*--security-wait 10m.*without --max-severity/m);
  assert.equal((await pull('--max-severity', 'awful')).code, 2);
});

test('what fails the pull itself keeps its exit code, however long the report takes', NEEDS, async (t) => {
  const { node, registry, name, clair } = await stage(t);
  Object.assign(clair.behaviour, { early: true, stepMs: 60_000 });
  const gate = ['--clair', clair.url, '--max-severity', 'high', '--json'];
  assertFails(await node.run(['torrent', 'pull', `${registry.host}/team/app:9`, ...gate]), 4, 'not-found');
  const pull = node.start(['torrent', 'pull', name, ...gate, '--security-wait', '10m']);
  await pull.waitFor(/Waiting for Clair/);
  assert.equal((await pull.kill('SIGINT')).code, 130);
});

test(
  'Docker gets nothing of an image before its report is in, nor of one that is refused',
  { skip: skipWithout('docker-registry', 'root', 'dockerd', 'docker') },
  async (t) => {
    const spec = { layers: [statusLayer({ one: '1.0' }), randomLayer(2_000_000, 'gate')] };
    const { registry, node, name, clair } = await stage(t, { spec });
    const engine = await startDockerd(t);
    const env = { DOCKER_HOST: engine.dockerHost };
    const images = async (): Promise<string> => (await engine.docker('images', '--all', '--quiet')).stdout;
    const pull = (severity: string) => [
      'docker',
      'torrent',
      'pull',
      name,
      '--json',
      '--clair',
      clair.url,
      '--max-severity',
      severity,
    ];
    assertFails(await node.run(pull('low'), { env }), 7, 'refused');
    assert.equal(await images(), '');

    clair.changeIndexers();
    Object.assign(clair.behaviour, { early: true, stepMs: 600 });
    const waiting = node.start([...pull('high'), '--debug'], { env });
    await waiting.waitFor(/Waiting for Clair/);
    assert.doesNotMatch(waiting.stderr(), /^Loading image$/m);
    assert.equal(await images(), '');
    assert.equal((await waiting.exited).code, 0, waiting.stderr());
    assert.notEqual(await images(), '');

    const server = await quayctlNode(t);
    const serve = server.start([
      'serve',
      ...['--upstream', registry.url],
      ...['--listen', '127.0.0.1:0'],
      ...['--clair', clair.url],
    ]);
    const [url] = await serve.waitFor(/^http:\S+$/m);
    const squashed = (severity: string) => [
      ...['docker', 'torrent', 'pull', name, '--squashed', '--json'],
      ...['--torrent-service', url, '--max-severity', severity],
    ];
    assertFails(await node.run(squashed('medium'), { env }), 7, 'refused');
    assert.equal((await engine.docker('images', '--quiet', `${name}.squash`)).stdout, '');
    assert.equal(receiptOf(await node.run(squashed('high'), { env })).engine, 'docker');
  },
);

test(
  'rkt: decided by the report of the image that the ACI was made of',
  { skip: skipWithout('root', 'unshare', 'gpg', 'docker-registry') },
  async (t) => {
    const { registry, clair, security } = await stage(t);
    // The name that the service signs URLs for is no name here, so Clair has the image indexed before.
    assert.equal((await security('--clair', clair.url)).code, 0);
    const http = new Http({ env: {}, certsDirectory: '/nonexistent' });
    t.after(() => http.close());
    const service = await openRktStage(t, await tempDirectory(t, 'stage'), {
      upstream: registry.url,
      clair: new Clair({ url: new URL(clair.url), issuer: 'quay', http }),
    });
    const { quayctl, rkt } = await service.node(t);
    const image = `${service.name}/team/app:1.0`;
    const pull = (severity: string) =>
      quayctl.run(['rkt', 'torrent', 'pull', image, '--json', '--max-severity', severity]);
    assertFails(await pull('medium'), 7, 'refused');
    assert.equal((await rkt.images()).size, 0);
    assert.equal(receiptOf(await pull('high')).engine, 'rkt');
    assert.ok((await rkt.images()).has(image));
  },
);
