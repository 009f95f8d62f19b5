import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { skipWithoutDockerd, startDockerd } from '../helpers/dockerd.ts';
import { randomLayer } from '../helpers/images.ts';
import { mustRun, type Output } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { startTokenServer } from '../helpers/token-server.ts';
import { openMirrorStage, type MirrorStage } from './kit.ts';
import { inPath, podmanWithMirror } from './podman.ts';

/** Blobs that this machine asked the registry for, past the torrent service. */
const blobsAt = ({ pipe }: MirrorStage): string[] =>
  pipe.requests.filter((line) => /^GET \S*\/blobs\//.test(line));

const podmanSkip = skipWithout('root', 'podman', 'docker-registry');

test(
  'podman: by tag and by digest, the second time without the registry’s bytes',
  { skip: podmanSkip },
  async (t) => {
    const stage = await openMirrorStage(t);
    const image = await stage.layout.addImage({
      layers: [randomLayer(4_000_000, 'a'), randomLayer(2000, 'b')],
    });
    await stage.push(image.manifest, 'team/app:1.0');
    const first = await podmanWithMirror(t, stage);
    succeeds(await first.pull(stage.name('team/app:1.0')));
    const before = blobsAt(stage).length;
    const second = await podmanWithMirror(t, stage);
    succeeds(await second.pull(stage.name(`team/app@${image.manifest.digest}`)));
    assert.equal(blobsAt(stage).length, before);
    assert.match(stage.mirror.process.stderr(), /GET \/v2\/127\S+\/team\/app\/blobs\/\S+ 200/);
  },
);

test('podman: a mirror that is gone is passed over', { skip: podmanSkip }, async (t) => {
  const stage = await openMirrorStage(t);
  const image = await stage.layout.addImage({ layers: [randomLayer(4_000_000, 'a')] });
  await stage.push(image.manifest, 'team/app:1.0');
  await stage.mirror.process.kill('SIGKILL');
  succeeds(await (await podmanWithMirror(t, stage)).pull(stage.name('team/app:1.0')));
});

test('podman: a private image with a login for the mirror’s address', { skip: podmanSkip }, async (t) => {
  const tokens = await startTokenServer(t, { users: { alice: 'secret-of-alice' } });
  const stage = await openMirrorStage(t, { auth: tokens.auth });
  const image = await stage.layout.addImage({ layers: [randomLayer(2_000_000, 'a')] });
  await stage.push(image.manifest, 'team/app:1.0', tokens.authorization('repository:team/app:pull,push'));
  const name = stage.name('team/app:1.0');
  const stranger = await podmanWithMirror(t, stage);
  assert.notEqual((await stranger.pull(name)).code, 0);
  const alice = await podmanWithMirror(t, stage);
  await alice.login(`${stage.mirror.host}/${inPath(stage.pipe.host)}`, 'alice', 'secret-of-alice');
  succeeds(await alice.pull(name));
  assert.notEqual((await stranger.pull(name)).code, 0, 'from a warm store neither');
  assert.ok(!stage.mirror.process.stderr().includes('secret-of-alice'));
});

const dockerSkip = skipWithoutDockerd('containerd', 'docker-registry');

test(
  'Docker with the containerd store: by tag, the second engine from the mirror',
  { skip: dockerSkip },
  async (t) => {
    const stage = await openMirrorStage(t);
    const image = await stage.layout.addImage({
      layers: [randomLayer(4_000_000, 'a'), randomLayer(2000, 'b')],
    });
    await stage.push(image.manifest, 'team/app:1.0');
    // dockerd has no flag for this folder; the port of the test registry keeps the name apart from others.
    const certs = join('/etc/docker/certs.d', stage.pipe.host);
    await mkdir(certs, { recursive: true });
    t.after(() => mustRun('rm', ['-r', certs]));
    const text = `server = "http://${stage.pipe.host}"\n[host."${stage.mirror.url}"]\n  capabilities = ["pull"]\n`;
    await writeFile(join(certs, 'hosts.toml'), text);
    const first = await startDockerd(t, [], 'containerd');
    succeeds(await first.docker('pull', '--quiet', stage.name('team/app:1.0')));
    const before = blobsAt(stage).length;
    const second = await startDockerd(t, [], 'containerd');
    succeeds(await second.docker('pull', '--quiet', stage.name('team/app:1.0')));
    assert.equal(blobsAt(stage).length, before);
    assert.match(stage.mirror.process.stderr(), /GET \/v2\/team\/app\/blobs\/\S+ 200/);
  },
);

function succeeds(output: Output): void {
  assert.equal(output.code, 0, output.stderr);
}
