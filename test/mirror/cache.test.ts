import assert from 'node:assert/strict';
import { copyFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MANIFEST_TYPES } from '../../src/image/media-types.ts';
import { randomLayer, type BuiltImage } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { askMirror, openMirrorStage, startMirrorOf, type MirrorStage, type TestMirror } from './kit.ts';

const skip = skipWithout('docker-registry');
const SIZE = 4_000_000;

test('the store is kept within --cache-size: what was used longest ago goes', { skip }, async (t) => {
  const stage = await openMirrorStage(t, {}, ['--cache-size', '6M', '--content-store', 'none']);
  const [first, second] = [await push(stage, 'a'), await push(stage, 'b')];
  await pull(stage, first);
  const gone = blobFile(stage.mirror, first);
  await isThere(gone);
  await pull(stage, second);
  while ((await stat(gone).catch(() => undefined)) !== undefined) await sleep(50);
  await stat(blobFile(stage.mirror, second));
});

test(
  'what an engine has committed is one file with ours, counts nothing, and is still given to others',
  { skip },
  async (t) => {
    const engine = await tempDirectory(t, 'content');
    const stage = await openMirrorStage(t, {}, ['--cache-size', '6M', '--content-store', engine]);
    const [first, second] = [await push(stage, 'a'), await push(stage, 'b')];
    for (const image of [first, second]) {
      await pull(stage, image);
      const ours = blobFile(stage.mirror, image);
      await isThere(ours);
      const theirs = join(engine, hexOf(image));
      await copyFile(ours, `${theirs}.draft`);
      await rename(`${theirs}.draft`, theirs);
      const { ino } = await stat(theirs);
      while ((await stat(ours)).ino !== ino) await sleep(50);
    }
    const other = { ...stage, mirror: await startMirrorOf(t, stage, ['--content-store', 'none']) };
    const before = stage.pipe.traffic.toClient;
    await pull(other, first);
    const again = stage.pipe.traffic.toClient - before;
    assert.ok(again < SIZE * 0.3, `${again} bytes came from the registry again`);
    await stat(blobFile(stage.mirror, first));
  },
);

async function push(stage: MirrorStage, seed: string): Promise<BuiltImage> {
  const image = await stage.layout.addImage({ layers: [randomLayer(SIZE, seed)] });
  await stage.push(image.manifest, `team/${seed}:1.0`);
  return image;
}

/** As an engine pulls it, in whichever repository it is. */
async function pull(stage: MirrorStage, image: BuiltImage): Promise<void> {
  const accept = MANIFEST_TYPES.join(', ');
  for (const repository of ['team/a', 'team/b']) {
    const answer = await askMirror(stage, `${repository}/manifests/${image.manifest.digest}`, { accept });
    await answer.arrayBuffer();
    if (answer.status !== 200) continue;
    const blob = await askMirror(stage, `${repository}/blobs/${image.layers[0]?.digest}`);
    assert.equal((await blob.arrayBuffer()).byteLength, image.layers[0]?.size);
    return;
  }
  assert.fail('it is in no repository');
}

/** A blob is in the store a moment after an engine has all of it. */
async function isThere(path: string): Promise<void> {
  while ((await stat(path).catch(() => undefined)) === undefined) await sleep(20);
}

const hexOf = (image: BuiltImage): string => image.layers[0]?.digest.replace('sha256:', '') ?? '';

function blobFile({ node }: TestMirror, image: BuiltImage): string {
  return join(node.store, 'blobs/sha256', hexOf(image));
}
