import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MANIFEST_TYPES } from '../../src/image/media-types.ts';
import { randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { askMirror, openMirrorStage } from './kit.ts';

const skip = skipWithout('docker-registry');

test('a thousand readers that go away in the middle leave room for the next', { skip }, async (t) => {
  const stage = await openMirrorStage(t);
  const image = await stage.layout.addImage({ layers: [randomLayer(3_000_000, 'a')] });
  await stage.push(image.manifest, 'team/app:1.0');
  const accept = MANIFEST_TYPES.join(', ');
  await (await askMirror(stage, `team/app/manifests/${image.manifest.digest}`, { accept })).arrayBuffer();
  const path = `team/app/blobs/${image.layers[0]?.digest}`;
  for (let round = 0; round < 50; round++) {
    const leave = async (): Promise<void> => {
      const answer = await askMirror(stage, path);
      assert.equal(answer.status, 200);
      const reader = answer.body?.getReader();
      await reader?.read();
      await reader?.cancel();
    };
    await Promise.all(Array.from({ length: 20 }, leave));
  }
  const last = await askMirror(stage, path);
  assert.equal((await last.arrayBuffer()).byteLength, image.layers[0]?.size);
  assert.equal(stage.mirror.process.stderr().match(/internal error/g), null);
});
