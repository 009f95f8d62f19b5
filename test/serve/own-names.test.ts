import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { openStage } from '../helpers/stage.ts';

test(
  'what torrent pull --output writes is served under the names of its images, of registries with ports, too',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const stage = await openStage(t);
    for (const name of ['team/a:1.0', 'team/b:2.0']) {
      const { manifest } = await stage.layout.addImage({ layers: [randomLayer(5000, name)] });
      await stage.push(manifest, name);
    }
    const node = await quayctlNode(t);
    const output = join(node.home, 'usb');
    const names = ['team/a:1.0', 'team/b:2.0'].map((name) => stage.name(name));
    const pulled = await node.run(['torrent', 'pull', ...names, '--output', output]);
    assert.equal(pulled.code, 0, pulled.stderr);
    const serve = node.start([
      'serve',
      '--upstream',
      `oci:${output}`,
      '--listen',
      '127.0.0.1:0',
      '--admin-listen',
      'none',
    ]);
    const [url] = await serve.waitFor(/^http:\S+$/m);
    for (const [repository, tag] of [
      ['team/a', '1.0'],
      ['team/b', '2.0'],
    ]) {
      const answer = await fetch(`${url}/v2/${repository}/manifests/${tag}`);
      assert.equal(answer.status, 200, serve.stderr());
      await answer.arrayBuffer();
    }
    assert.doesNotMatch(serve.stderr(), /left out/);
    const away = await quayctlNode(t);
    const [, image] = names;
    const from = `${new URL(url).host}/${image?.slice(image.indexOf('/') + 1)}`;
    const again = await away.run(['torrent', 'pull', from]);
    assert.equal(again.code, 0, again.stderr);
  },
);
