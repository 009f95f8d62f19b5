import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { zstdCompressSync } from 'node:zlib';
import { QuayctlError } from '../../src/base/errors.ts';
import type { BlobFeed } from '../../src/engines/engine.ts';
import { layerFile } from '../../src/engines/layer-file.ts';
import { digestOf } from '../../src/image/digest.ts';

test('zstd for an old daemon: the last byte comes before the store has the layer, which is waited for', async () => {
  const plain = Buffer.alloc(300_000, 'layer');
  const bytes = zstdCompressSync(plain);
  const layer = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
    digest: digestOf(bytes),
    size: bytes.length,
  };
  const { promise: committed, resolve: commit } = Promise.withResolvers<void>();
  let isCommitted = false;
  const feed: BlobFeed = {
    follow: () =>
      Promise.resolve(Readable.from([bytes.subarray(0, 2), bytes.subarray(2)], { objectMode: false })),
    ready: () => committed,
    stream: () =>
      isCommitted
        ? Promise.resolve(Readable.from([bytes], { objectMode: false }))
        : Promise.reject(new QuayctlError('not-found', 'not in the store')),
  };
  const file = await layerFile('layer.tar', layer, feed, false, new AbortController().signal);
  assert.ok('open' in file);
  assert.equal(file.size, plain.length);
  const opening = Promise.resolve(file.open());
  await setImmediate();
  isCommitted = true;
  commit();
  const sent = await buffer(await opening);
  assert.ok(sent.equals(plain));
});

test('a layer of fewer bytes than tell what it is goes as it is', async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('ab')]) {
    const layer = {
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: digestOf(bytes),
      size: bytes.length,
    };
    const feed: BlobFeed = {
      follow: () => Promise.resolve(Readable.from(bytes.length === 0 ? [] : [bytes], { objectMode: false })),
      ready: () => Promise.resolve(),
      stream: () => Promise.reject(new QuayctlError('not-found', 'not in the store')),
    };
    const file = await layerFile('layer.tar', layer, feed, false, new AbortController().signal);
    assert.ok('open' in file);
    assert.ok((await buffer(await file.open())).equals(bytes));
  }
});
