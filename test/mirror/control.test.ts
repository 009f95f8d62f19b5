import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { MANIFEST_TYPES } from '../../src/image/media-types.ts';
import { randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { askMirror, openMirrorStage } from './kit.ts';

test(
  'preheat brings an image into the store of the mirror, and status tells of what came',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const stage = await openMirrorStage(t);
    const { node } = stage.mirror;
    const images = [];
    for (const name of ['team/warm', 'team/cold']) {
      const image = await stage.layout.addImage({ layers: [randomLayer(3_000_000, name)] });
      await stage.push(image.manifest, `${name}:1.0`);
      images.push(image);
    }
    const at = ['--control', join(node.home, 'mirror.sock')];
    const run = (...args: readonly string[]) => node.run(['mirror', ...args, ...at]);
    const heated = await run('preheat', stage.name('team/warm:1.0'));
    assert.equal(heated.code, 0, heated.stderr);
    assert.equal(heated.stdout, `${stage.name('team/warm:1.0')}\n`);
    assert.match(heated.stderr, /3\.0 MB|3 MB/);
    const blobs = (): number => stage.pipe.requests.filter((line) => line.includes('/blobs/')).length;
    const before = blobs();
    const pull = async (name: string, digest: string | undefined, manifest: string): Promise<void> => {
      const accept = MANIFEST_TYPES.join(', ');
      await (await askMirror(stage, `${name}/manifests/${manifest}`, { accept })).arrayBuffer();
      const answer = await askMirror(stage, `${name}/blobs/${digest}`);
      assert.ok((await answer.arrayBuffer()).byteLength > 3_000_000);
    };
    const [warm, cold] = images;
    assert.ok(warm !== undefined && cold !== undefined);
    await pull('team/warm', warm.layers[0]?.digest, warm.manifest.digest);
    assert.equal(blobs(), before, 'nothing is left to be fetched');
    await pull('team/cold', cold.layers[0]?.digest, cold.manifest.digest);

    const root = await tempDirectory(t, 'root');
    const status = await run('status', '--json', '--root', root);
    assert.equal(status.code, 0, status.stderr);
    const { mirror, settings } = JSON.parse(status.stdout) as {
      readonly mirror: { readonly registries: string[]; readonly recent: { readonly repository: string }[] };
      readonly settings: unknown[];
    };
    assert.deepEqual(mirror.registries, [stage.pipe.host]);
    assert.deepEqual(settings, []);
    assert.ok(mirror.recent.some(({ repository }) => repository === 'team/cold'));
    const text = await run('status', '--root', root);
    assert.match(text.stdout, /stands for 127\.\S+\nstore: .* of .*\nno settings are installed/);

    const missing = await run('preheat', stage.name('team/nowhere:1.0'));
    assert.equal(missing.code, 4, missing.stderr);
    await stage.mirror.process.kill('SIGKILL');
    assert.equal((await run('status', '--root', root)).code, 1);
    assert.equal((await run('preheat', stage.name('team/warm:1.0'))).code, 1);
  },
);
