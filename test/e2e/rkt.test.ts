import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { bytesInStore } from '../helpers/progress.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { giveCredential, openRktStage, type RktStage } from '../helpers/rkt-stage.ts';
import { parseReceipt, receiptOf, type FailureJson } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';

const NEEDS = ['root', 'unshare', 'gpg', 'docker-registry', 'htpasswd'];
const PASSWORD = { username: 'me', password: 's3cret' };
const LAYER_BYTES = 3_000_000;

// Each test has nodes of its own; most of the time is theirs to start.
describe('an image of a Docker registry, in rkt', { skip: skipWithout(...NEEDS), concurrency: 3 }, () => {
  const scope = suiteScope();
  let registry: TestRegistry;
  let stage: RktStage;
  let image: string;

  before(async () => {
    const folder = await tempDirectory(scope, 'stage');
    const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
    registry = await startRegistry(scope, { auth: { kind: 'htpasswd', ...PASSWORD } });
    const authorization = `Basic ${Buffer.from('me:s3cret').toString('base64')}`;
    const here = await layout.addImage({
      layers: [randomLayer(LAYER_BYTES, 'one'), randomLayer(LAYER_BYTES, 'two')],
      run: { Cmd: ['/app'], User: 'www' },
    });
    const elsewhere = await layout.addImage({ layers: [randomLayer(1000, 's')], architecture: 's390x' });
    const target = { url: registry.url, repository: 'team/app', authorization };
    await pushImage(layout, here.manifest, { ...target, tag: '1.0' });
    await pushImage(layout, elsewhere.manifest, { ...target, tag: 's390x' });
    stage = await openRktStage(scope, folder, { upstream: registry.url });
    image = `${stage.name}/team/app:1.0`;
  });

  const pull = (...more: readonly string[]): string[] => ['rkt', 'torrent', 'pull', ...more];
  const node = async (
    t: Parameters<RktStage['node']>[0],
    more: { trusts?: boolean } = {},
  ): ReturnType<RktStage['node']> => {
    const made = await stage.node(t, more);
    await giveCredential(made.rkt, stage.name, PASSWORD);
    return made;
  };

  test('pull: discovery, torrent, signature, rkt fetch; the next one has nothing to do', async (t) => {
    const { quayctl, rkt } = await node(t);
    const first = await quayctl.run(pull(image));
    assert.equal(first.code, 0, first.stderr);
    assert.equal(first.stdout, `${image}\n`);
    const told = ['Discovering image', 'Downloading torrent for image', 'Connecting to rkt', 'Loading image'];
    const lines = first.stderr.split('\n');
    assert.deepEqual(
      lines.filter((line) => told.includes(line)),
      told,
      first.stderr,
    );
    assert.match(first.stderr, /^image: signature verified:$/m);
    assert.match(first.stderr, new RegExp(`^Successfully pulled image ${image}$`, 'm'));
    assert.ok((await rkt.images()).get(image));
    const { engine, layers, total } = receiptOf(await quayctl.run(pull(image, '--json')));
    assert.equal(engine, 'rkt');
    assert.equal(layers.length, 1);
    assert.equal(total.alreadyInEngine, total.size);
    assert.doesNotMatch(first.stderr + first.stdout, /s3cret|jwt=|signature=/);
  });

  test('one node seeds, another takes every byte from it', async (t) => {
    const [giver, taker] = [await node(t), await node(t)];
    const seed = giver.quayctl.start(['rkt', 'torrent', 'seed', image, '--duration', '10m', '--json']);
    await seed.waitFor(/Seeding 1 blob for/);
    const { total } = receiptOf(await taker.quayctl.run(pull(image, '--json', '--skip-web-seed')));
    assert.equal(total.fromPeers, total.size);
    assert.ok((await taker.rkt.images()).has(image));
    assert.equal((await giver.rkt.images()).size, 0, 'a seed puts nothing into rkt');
    assert.equal((await seed.kill('SIGINT')).code, 0);
    assert.equal(parseReceipt(seed.stdout()).engine, 'none');
  });

  test('a plain rkt: discovery, key over HTTPS, signature and image', async (t) => {
    const { rkt, quayctl } = await node(t, { trusts: false });
    const { code, stdout, stderr } = await rkt.run('fetch', '--full', '--trust-keys-from-https', image);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /signature verified:\n {2}quayctl serve$/m);
    // The key that it took is told on stdout, too, before the ID.
    assert.match(stdout, /^Added key for prefix "quay\.rkt\.test\/team\/app" at /m);
    assert.equal((await rkt.images()).get(image), stdout.trim().split('\n').at(-1));
    const { total } = receiptOf(await quayctl.run(pull(image, '--json')));
    assert.equal(total.alreadyInEngine, total.size, 'the torrent states the image ID that rkt has');
  });

  test('--torrent-service: that service is asked, without discovery', async (t) => {
    const { quayctl, rkt } = await node(t);
    const service = ['--torrent-service', `https://${stage.name}`];
    assert.equal((await quayctl.run(pull(image, '--json', ...service))).code, 0);
    assert.ok((await rkt.images()).has(image));
    const { stderr } = await quayctl.run(pull(image, '--debug', ...service));
    assert.doesNotMatch(stderr, /ac-discovery/);
  });

  test('a pull that was killed goes on where it was', async (t) => {
    const { quayctl } = await node(t);
    const begun = quayctl.start(pull(image, '--download-rate', '1500', '--json'));
    // More than one piece, so that something of it can be verified, and less than all.
    while ((await bytesInStore(quayctl.store)) < 2_000_000) await sleep(20);
    await begun.kill('SIGKILL');
    const { total } = receiptOf(await quayctl.run(pull(image, '--json')));
    assert.ok(total.fromStore > 0 && total.fromStore < total.size, `${total.fromStore} of ${total.size}`);
  });

  test('--offline-ok: image and signature are taken from the store', async (t) => {
    const { quayctl, rkt } = await node(t);
    await quayctl.run(pull(image));
    await rkt.run('image', 'rm', image);
    const other = await stage.node(t);
    const env = { PATH: other.rkt.env['PATH'] ?? '', HTTPS_PROXY: 'http://127.0.0.1:9' };
    const { total } = receiptOf(await quayctl.run(pull(image, '--offline-ok', '--json'), { env }));
    assert.equal(total.fromStore, total.size);
    assert.ok((await other.rkt.images()).has(image));
    const list = await quayctl.run(['store', 'ls']);
    assert.match(list.stdout, /quay\.rkt\.test\/team\/app:1\.0\.aci/);
  });

  test('`torrent seed` without a name gives ACIs, too', async (t) => {
    const [giver, taker] = [await node(t), await node(t)];
    await giver.quayctl.run(pull(image));
    const seed = giver.quayctl.start(['torrent', 'seed', '--duration', '10m']);
    await seed.waitFor(/Seeding 1 blob/);
    assert.doesNotMatch(seed.stderr(), /warning/);
    const { total } = receiptOf(await taker.quayctl.run(pull(image, '--json', '--skip-web-seed')));
    assert.equal(total.fromPeers, total.size);
    assert.equal((await seed.kill('SIGINT')).code, 0);
  });

  const failures: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    ['no appc name', ['Quay.io/x'], 2, /not an appc image name.*\nhint: did you mean/],
    ['no such tag', ['quay.rkt.test/team/app:nope'], 4, /team\/app:nope.*no such image at quay\.rkt\.test/],
    ['another platform', ['quay.rkt.test/team/app:s390x'], 4, /is for linux\/s390x, not for linux\//],
    ['no such host', ['nowhere.rkt.test/team/app:1.0'], 1, /no place to get/],
    [
      'words for rkt that are none',
      ['quay.rkt.test/a:1', '--insecure-options=$(x)'],
      2,
      /--insecure-options/,
    ],
  ];
  for (const [what, args, code, pattern] of failures) {
    test(`exit code ${code}: ${what}`, async (t) => {
      const { quayctl } = await node(t);
      const output = await quayctl.run(pull(...args, '--json'));
      assert.equal(output.code, code, output.stderr);
      assert.match(output.stderr, pattern);
      assert.equal((JSON.parse(output.stdout) as FailureJson).exitCode, code);
    });
  }

  test('exit codes 3, 5 and 130: no password, no trust, Ctrl-C', async (t) => {
    const stranger = await stage.node(t);
    const refused = await stranger.quayctl.run(pull(image));
    assert.equal(refused.code, 3, refused.stderr);
    const { quayctl } = await node(t, { trusts: false });
    const untrusted = await quayctl.run(pull(image));
    assert.equal(untrusted.code, 5, untrusted.stderr);
    assert.match(
      untrusted.stderr,
      /does not trust the key[\s\S]*hint: rkt trust --prefix quay\.rkt\.test\/team\/app/,
    );
    const without = await quayctl.run(pull(image), { env: { PATH: '/usr/bin:/bin' } });
    assert.equal(without.code, 5, without.stderr);
    const begun = quayctl.start(pull(image, '--download-rate', '500', '--store', `${quayctl.home}/other`));
    await begun.waitFor(/Connecting to rkt/);
    assert.equal((await begun.kill('SIGINT')).code, 130);
  });
});
