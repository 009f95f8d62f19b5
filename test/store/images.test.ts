import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatReference, parseImageReference } from '../../src/image/reference.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { patience, randomBlob } from './blobs.ts';
import { exportArchive, exportLayout } from '../../src/image-output/image-output.ts';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { fillStore, resolved } from './images.ts';
import { newStore, storeIn } from './open.ts';
import { commitInto, imageOf, indexOf, isWhole, pullInto } from './resolved.ts';

const NAME = 'registry.example:5000/team/app:1.0';
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };

test('an image is found by its name, as it was recorded', async (t) => {
  const { store } = await newStore(t);
  const image = imageOf(NAME, [randomBlob(1000), randomBlob(2000)]);
  await pullInto(store, image);
  const found = await store.findImage(parseImageReference(NAME), AMD64);
  assert.deepEqual(found?.manifest, image.manifest);
  assert.deepEqual(Buffer.from(found.document.bytes), Buffer.from(image.document.bytes));
  const [listed, ...others] = await store.listImages();
  assert.equal(others.length, 0);
  assert.equal(listed && formatReference(listed.reference), NAME);
  assert.deepEqual(listed?.platform, AMD64);
  assert.equal(listed.complete, true);
  assert.equal(listed.size, 3000 + image.config.descriptor.size + image.document.descriptor.size);
});

const lookups: readonly (readonly [string, string, boolean])[] = [
  ['the same tag', NAME, true],
  ['another tag', 'registry.example:5000/team/app:1.1', false],
  ['another repository', 'registry.example:5000/team/app2:1.0', false],
  ['the same repository elsewhere', 'other.example:5000/team/app:1.0', false],
];
for (const [what, name, isThere] of lookups) {
  test(`${what} is ${isThere ? '' : 'not '}found`, async (t) => {
    const { store } = await newStore(t);
    await pullInto(store, imageOf(NAME, [randomBlob(10)]));
    assert.equal((await store.findImage(parseImageReference(name))) !== undefined, isThere);
  });
}

test('an image is found by digest, under any tag, by that of its index too', async (t) => {
  const { store } = await newStore(t);
  const [image] = indexOf([[imageOf(NAME, [randomBlob(10)]), AMD64]]);
  assert.ok(image?.index);
  await pullInto(store, image);
  for (const { descriptor } of [image.document, image.index]) {
    const reference = parseImageReference(`registry.example:5000/team/app:other@${descriptor.digest}`);
    const found = await store.findImage(reference, AMD64);
    assert.equal(found?.document.descriptor.digest, image.document.descriptor.digest);
    assert.deepEqual(found.index && Buffer.from(found.index.bytes), Buffer.from(image.index.bytes));
  }
});

test('two platforms of one name stand side by side, the wanted one is found', async (t) => {
  const { store } = await newStore(t);
  const images = indexOf([
    [imageOf(NAME, [randomBlob(10)], AMD64), AMD64],
    [imageOf(NAME, [randomBlob(20)], ARM64), ARM64],
  ]);
  for (const image of images) await pullInto(store, image);
  assert.equal((await store.listImages()).length, 2);
  for (const [at, platform] of [AMD64, ARM64].entries()) {
    const found = await store.findImage(parseImageReference(NAME), platform);
    assert.equal(found?.document.descriptor.digest, images[at]?.document.descriptor.digest);
  }
  assert.equal(
    await store.findImage(parseImageReference(NAME), { os: 'linux', architecture: 's390x' }),
    undefined,
  );
});

test('a tag that moved has one entry, of what was recorded last', async (t) => {
  const { store } = await newStore(t);
  await pullInto(store, imageOf(NAME, [randomBlob(10)]));
  const moved = imageOf(NAME, [randomBlob(10)]);
  await pullInto(store, moved);
  assert.deepEqual(
    (await store.listImages()).map(({ digest }) => digest),
    [moved.document.descriptor.digest],
  );
});

test('an image of which an engine had a layer is incomplete, and what is here is told', async (t) => {
  const { store } = await newStore(t);
  const image = imageOf(NAME, [randomBlob(10), randomBlob(20)]);
  const [, second] = image.layers;
  assert.ok(second);
  for (const blob of [image.config, second]) await commitInto(store, blob);
  await store.recordImage(image);
  const [listed] = await store.listImages();
  assert.equal(listed?.complete, false);
  assert.deepEqual(
    (await store.heldBlobs(listed)).map(({ digest }) => digest),
    [image.config, second].map(({ descriptor }) => descriptor.digest),
  );
});

test('what is removed goes with its blobs; what others need, or use, stays', async (t) => {
  const { store, directory } = await newStore(t);
  const shared = randomBlob(100);
  const kept = imageOf('example.com/kept:1', [shared]);
  const removed = imageOf('example.com/removed:1', [shared, randomBlob(200), randomBlob(300)]);
  const [, own, read] = removed.layers;
  assert.ok(own && read);
  const puller = await storeIn(t, directory);
  for (const image of [kept, removed]) await pullInto(puller, image);
  await puller.close();
  const reader = await (await storeIn(t, directory)).open(read.descriptor.digest);
  assert.equal(await store.removeImage(removed.reference), true);
  assert.equal(await store.removeImage(removed.reference), false);
  assert.equal(await isWhole(store, kept), true);
  assert.equal(await store.stat(own.descriptor.digest), undefined);
  assert.equal(await store.stat(removed.document.descriptor.digest), undefined);
  assert.equal(await store.stat(read.descriptor.digest), 300);
  await reader.close();
});

test('images that many processes record at once are all there', async (t) => {
  const { store, directory } = await newStore(t);
  const stores = await Promise.all(Array.from({ length: 5 }, () => storeIn(t, directory)));
  await Promise.all(
    stores.map(async (one, at) => {
      for (let n = 0; n < 4; n++) await pullInto(one, imageOf(`example.com/app${at}:${n}`, [randomBlob(10)]));
    }),
  );
  assert.equal((await store.listImages()).length, 20);
});

test('entries that other tools wrote stay as they are, and are not taken for images of a name', async (t) => {
  const { store, directory } = await newStore(t);
  const index = join(directory, 'index.json');
  const foreign = [
    { mediaType: 'x/y', digest: `sha512:${'a'.repeat(128)}`, size: 3, data: 'e30K' },
    {
      mediaType: 'x/y',
      digest: `sha256:${'a'.repeat(64)}`,
      size: 3,
      annotations: { 'org.opencontainers.image.ref.name': 'v1' },
    },
    'garbage',
  ];
  await writeFile(index, JSON.stringify({ schemaVersion: 2, manifests: foreign }));
  await pullInto(store, imageOf(NAME, [randomBlob(10)]));
  const { manifests } = JSON.parse(await readFile(index, 'utf8')) as { manifests: unknown[] };
  assert.deepEqual(manifests.slice(0, 2), foreign.slice(0, 2));
  assert.equal((await store.listImages()).length, 1);
});

const damages: readonly (readonly [string, string])[] = [
  ['empty', ''],
  ['cut', '{"schemaVersion":2,"manifests":[{"media'],
  ['a list', '[]'],
  ['deep', '['.repeat(5000)],
  ['of wrong types', '{"schemaVersion":2,"manifests":7}'],
];
for (const [what, text] of damages) {
  test(`an index.json that is ${what} costs no image, and is put aside`, async (t) => {
    const { store, directory } = await newStore(t);
    const first = imageOf(NAME, [randomBlob(10)]);
    await pullInto(store, first);
    await writeFile(join(directory, 'index.json'), text);
    assert.equal((await store.listImages()).length, 1);
    await pullInto(store, imageOf('example.com/second:1', [randomBlob(10)]));
    assert.equal((await store.listImages()).length, 2);
    const aside = (await readdir(join(directory, 'quayctl'))).find((name) => name.includes('damaged'));
    assert.equal(await readFile(join(directory, 'quayctl', aside ?? ''), 'utf8'), text);
  });
}

test('a manifest damaged on disk is absent, and comes back when it is recorded again', async (t) => {
  const { store } = await newStore(t);
  const image = imageOf(NAME, [randomBlob(10)]);
  await pullInto(store, image);
  const path = store.blobFile(image.document.descriptor.digest);
  for (const damage of [() => writeFile(path, 'garbage'), () => rm(path)]) {
    await damage();
    assert.equal(await store.findImage(image.reference), undefined);
    assert.equal((await store.listImages())[0]?.complete, false);
    await store.recordImage(image);
    assert.ok(await store.findImage(image.reference));
  }
});

test('skopeo reads the store', { skip: skipWithout('skopeo') }, async (t) => {
  const { store, directory } = await newStore(t);
  const image = imageOf(NAME, [randomBlob(10)]);
  await pullInto(store, image);
  await pullInto(store, imageOf('docker.io/library/other:latest', [randomBlob(20)]));
  const shown = await mustRun('skopeo', ['inspect', '--raw', `oci:${directory}:${NAME}`]);
  assert.equal(shown, Buffer.from(image.document.bytes).toString());
});

test(
  "skopeo finds images of Docker's types by name, in the store and in exports, with digests kept",
  { skip: skipWithout('skopeo') },
  async (t) => {
    const { store, directory } = await newStore(t);
    const place = await tempDirectory(t, 'docker-types');
    const source = await TestLayout.create(join(place, 'source'));
    const { manifest, layers } = await source.addImage({
      layers: [randomLayer(1000, 'one')],
      format: 'docker',
    });
    const image = await resolved(source, NAME, manifest);
    await fillStore(store, source, image);
    const [layout, archive] = [join(place, 'layout'), join(place, 'image.tar')];
    await exportLayout(store, image, layout, patience());
    await exportArchive(store, image, archive, patience());
    for (const from of [`oci:${directory}:${NAME}`, `oci:${layout}:${NAME}`, `oci-archive:${archive}`]) {
      const copy = join(await tempDirectory(t, 'copy'), 'copy');
      await mustRun('skopeo', ['copy', '--preserve-digests', from, `dir:${copy}`]);
      assert.deepEqual(await readFile(join(copy, 'manifest.json')), Buffer.from(image.document.bytes), from);
    }
    const found = await store.findImage(image.reference);
    assert.equal(found?.document.descriptor.digest, manifest.digest);
    assert.equal(found.document.descriptor.mediaType, manifest.mediaType);
    const other = await storeIn(t, directory);
    await store.close();
    assert.equal((await other.listImages())[0]?.complete, true);
    assert.equal(await other.removeImage(image.reference), true);
    assert.deepEqual(await readdir(join(directory, 'blobs', 'sha256')), [], layers[0]?.digest);
  },
);
