import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';

test('serve prepare makes torrents ahead of time, which a service with the same data gives at once', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(300_000, 'a')] }, 'team/app:1.0');
  const node = await quayctlNode(t);
  const upstream = ['--upstream', `oci:${layout.directory}`];
  const prepared = await node.run(['serve', 'prepare', 'team/app:1.0', ...upstream]);
  assert.equal(prepared.code, 0, prepared.stderr);
  assert.match(prepared.stdout, /^team\/app:1\.0: 2 blobs, 300\.\d kB\n$/);
  assert.equal(prepared.stderr.match(/event=hashed/g)?.length, 2);
  const again = await node.run(['serve', ...upstream, 'prepare', 'team/app:1.0']);
  assert.equal(again.code, 0, again.stderr);
  assert.doesNotMatch(again.stderr, /event=hashed/);

  const serve = node.start(['serve', ...upstream, '--listen', '127.0.0.1:0']);
  const [url] = await serve.waitFor(/^http:\S+$/m);
  const path = `/c1/torrent/team/app/blobs/${image.layers[0]?.digest ?? ''}`;
  assert.equal((await fetch(`${url}${path}?ns=${new URL(url).host}`)).status, 200);
  assert.doesNotMatch(serve.stderr(), /event=hash/);

  for (const [name, code] of [
    ['team/app:2.0', 4],
    ['team/none:1.0', 4],
    ['registry.example/team/app:1.0', 2],
    ['team/app:', 2],
  ] as const) {
    const { code: found, stderr } = await node.run(['serve', 'prepare', name, ...upstream]);
    assert.equal(found, code, `${name}: ${stderr}`);
  }
  assert.equal((await node.run(['serve', 'prepare', 'team/app:1.0'])).code, 2, 'no upstream');
});

test(
  'serve prepare reads a private registry with --upstream-auth',
  { skip: skipWithout('docker-registry', 'htpasswd') },
  async (t) => {
    const auth = { kind: 'htpasswd', username: 'robot', password: 'robot-password' } as const;
    const registry = await startRegistry(t, { auth });
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const image = await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
    const basic = Buffer.from('robot:robot-password').toString('base64');
    const target = { url: registry.url, repository: 'team/app', tag: '1.0', authorization: `Basic ${basic}` };
    await pushImage(layout, image.manifest, target);
    const node = await quayctlNode(t);
    const command = ['serve', 'prepare', `${registry.host}/team/app:1.0`, '--upstream', registry.url];
    assert.equal((await node.run(command)).code, 3);
    const file = join(node.cwd, 'pull.json');
    await writeFile(file, JSON.stringify({ auths: { [registry.host]: { auth: basic } } }));
    const prepared = await node.run([...command, '--upstream-auth', file]);
    assert.equal(prepared.code, 0, prepared.stderr);
    assert.ok(!prepared.stderr.includes(basic) && !prepared.stderr.includes('robot-password'));
    assert.equal((await node.run([...command, '--upstream-auth', 'missing.json'])).code, 2);
  },
);

test('serve rotate-key adds a key to the secret file', async (t) => {
  const node = await quayctlNode(t);
  const folder = join(node.home, 'shared');
  await mkdir(folder);
  const file = join(folder, 'secret.json');
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const serve = ['serve', '--upstream', `oci:${layout.directory}`, '--listen', '127.0.0.1:0'];
  const running = node.start([...serve, '--admin-listen', 'none', '--secret-file', file]);
  await running.waitFor(/^http:\S+$/m);
  for (let round = 2; round <= 3; round++) {
    const { code, stdout, stderr } = await node.run(['serve', 'rotate-key', '--secret-file', file]);
    assert.equal(code, 0, stderr);
    const { keys } = JSON.parse(await readFile(file, 'utf8')) as { keys: { kid: string }[] };
    assert.equal(keys.length, round);
    assert.equal(keys.at(-1)?.kid, stdout.trim());
  }
});
