import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { MANIFEST_TYPES } from '../../src/image/media-types.ts';
import { randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { askMirror, openMirrorStage, startMirrorOf } from './kit.ts';

const skip = skipWithout('docker-registry');
const ACCEPT = { accept: MANIFEST_TYPES.join(', ') };

test('manifests, config and layers come through the mirror, byte for byte', { skip }, async (t) => {
  const stage = await openMirrorStage(t);
  const image = await stage.layout.addImage({
    layers: [randomLayer(6_000_000, 'a'), randomLayer(2000, 'b')],
  });
  await stage.push(image.manifest, 'team/app:1.0');

  const head = await askMirror(stage, 'team/app/manifests/1.0', ACCEPT, 'HEAD');
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('docker-content-digest'), image.manifest.digest);
  assert.equal(head.headers.get('content-length'), String(image.manifest.size));
  assert.equal(head.headers.get('content-type'), image.manifest.mediaType);
  const manifest = await askMirror(stage, `team/app/manifests/${image.manifest.digest}`, ACCEPT);
  assert.equal(digestOf(await manifest.arrayBuffer()), image.manifest.digest);
  for (const { digest, size } of [image.config, ...image.layers]) {
    const answer = await askMirror(stage, `team/app/blobs/${digest}`);
    assert.equal(answer.headers.get('content-length'), String(size));
    assert.equal(digestOf(await answer.arrayBuffer()), digest);
  }
  const layer = image.layers[0];
  assert.ok(layer !== undefined);
  // The seeder asks `/v2/` when the store has changed, at any time.
  const forBlobs = (): string[] => stage.pipe.requests.filter((line) => line.includes('/blobs/'));
  const asked = forBlobs();
  const part = await askMirror(stage, `team/app/blobs/${layer.digest}`, { range: 'bytes=5999990-' });
  assert.equal(part.status, 206);
  assert.equal((await part.arrayBuffer()).byteLength, layer.size - 5_999_990);
  assert.deepEqual(forBlobs(), asked, 'what is in the store is not asked of the registry again');
});

test('a second node gets the layer from the first, and the registry sends it once', { skip }, async (t) => {
  const stage = await openMirrorStage(t);
  const image = await stage.layout.addImage({ layers: [randomLayer(20_000_000, 'a')] });
  await stage.push(image.manifest, 'team/app:1.0');
  const layer = image.layers[0];
  assert.ok(layer !== undefined);
  const pull = async (from: typeof stage): Promise<void> => {
    await (await askMirror(from, `team/app/manifests/${image.manifest.digest}`, ACCEPT)).arrayBuffer();
    const answer = await askMirror(from, `team/app/blobs/${layer.digest}`);
    assert.equal(digestOf(await answer.arrayBuffer()), layer.digest);
  };
  await pull(stage);
  const before = stage.pipe.traffic.toClient;
  await pull({ ...stage, mirror: await startMirrorOf(t, stage) });
  const again = stage.pipe.traffic.toClient - before;
  assert.ok(again < layer.size * 0.2, `${again} bytes came from the registry again`);
});

test('another registry is refused before its credential is looked at', { skip }, async (t) => {
  const stage = await openMirrorStage(t);
  const { mirror, pipe } = stage;
  for (const path of [
    'team/app/manifests/1.0?ns=other.example',
    `team/app/manifests/1.0?ns=${pipe.host}&ns=other.example`,
    'other.example/team/app/manifests/1.0',
    'team/app/manifests/1.0',
    'team/app/manifests/1.0?ns=',
  ]) {
    const headers = { authorization: 'Basic dXNlcjpzZWNyZXQ=' };
    const answer = await fetch(`${mirror.url}/v2/${path}`, { headers });
    assert.equal(answer.status, 404, path);
  }
  assert.deepEqual(
    pipe.requests.filter((line) => line.includes('/team/')),
    [],
  );
});

function digestOf(bytes: ArrayBuffer): string {
  return `sha256:${createHash('sha256').update(Buffer.from(bytes)).digest('hex')}`;
}
