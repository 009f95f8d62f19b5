import assert from 'node:assert/strict';
import { chmod, copyFile, cp, mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ResolvedImage } from '../../src/image/manifest.ts';
import { exportArchive, exportLayout } from '../../src/image-output/image-output.ts';
import type { Store } from '../../src/store/store.ts';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import { mustRun, run, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { patience } from '../store/blobs.ts';
import { failsWith } from '../store/blob-store.suite.ts';
import { fillStore, resolved } from '../store/images.ts';
import { newStore } from '../store/open.ts';

const skip = skipWithout('skopeo');
const NAME = 'registry.example/team/app:1.0';

interface Example {
  readonly store: Store;
  readonly directory: string;
  readonly image: ResolvedImage;
  readonly layout: TestLayout;
  /** A place to export to. */
  readonly place: string;
}

async function example(t: Scope, format: 'oci' | 'docker' = 'oci'): Promise<Example> {
  const { store, directory } = await newStore(t);
  const layout = await TestLayout.create(join(await tempDirectory(t, 'source'), 'layout'));
  const one = randomLayer(300_000, 'one');
  const { manifest } = await layout.addImage({ format, layers: [one, randomLayer(20_000, 'two'), one] });
  const image = await resolved(layout, NAME, manifest);
  await fillStore(store, layout, image);
  return { store, directory, image, layout, place: await tempDirectory(t, 'export') };
}

async function digestBySkopeo(source: string): Promise<string> {
  return (await mustRun('skopeo', ['inspect', '--format', '{{.Digest}}', source])).trim();
}

for (const format of ['oci', 'docker'] as const) {
  test(
    `skopeo reads an image of ${format} types from a layout, an archive, and the store itself`,
    { skip },
    async (t) => {
      const { store, directory, image, place } = await example(t, format);
      const [layout, archive] = [join(place, 'new/layout'), join(place, 'new/image.tar')];
      await exportLayout(store, image, layout, patience());
      await exportArchive(store, image, archive, patience());
      for (const source of [
        `oci:${layout}:${NAME}`,
        `oci-archive:${archive}:${NAME}`,
        `oci:${directory}:${NAME}`,
      ]) {
        const copy = join(await tempDirectory(t, 'copy'), 'copy');
        // A copy reads every blob and checks it.
        await mustRun('skopeo', ['copy', source, `dir:${copy}`]);
        const manifest = await readFile(join(copy, 'manifest.json'));
        assert.deepEqual(manifest, image.document.bytes, source);
        assert.equal((await readdir(copy)).length, 2 + 1 + 2);
      }
      assert.deepEqual((await readdir(join(place, 'new'))).sort(), ['image.tar', 'layout']);
    },
  );
}

test(
  'an export adds to the images that are there, and replaces one of the same name',
  { skip },
  async (t) => {
    const { store, image, layout: source, place } = await example(t);
    const target = join(place, 'layout');
    const other = await TestLayout.create(target);
    const kept = await other.addImage({ layers: [randomLayer(1000, 'kept')] }, 'kept');
    await exportLayout(store, image, target, patience());
    const { manifest } = await source.addImage({ layers: [randomLayer(5000, 'three')] });
    const newer = await resolved(source, NAME, manifest);
    await fillStore(store, source, newer);
    await exportLayout(store, newer, target, patience());
    assert.equal(await digestBySkopeo(`oci:${target}:kept`), kept.manifest.digest);
    assert.equal(await digestBySkopeo(`oci:${target}:${NAME}`), manifest.digest);
    const index = JSON.parse(await readFile(join(target, 'index.json'), 'utf8')) as { manifests: unknown[] };
    assert.equal(index.manifests.length, 2);
  },
);

test('entries of other tools are kept as they are', async (t) => {
  const { store, image, place } = await example(t);
  const entry = {
    mediaType: 'x/y',
    digest: `sha512:${'0'.repeat(128)}`,
    size: 5,
    strange: { deep: [1, null] },
  };
  await writeFile(join(place, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(place, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  await exportLayout(store, image, place, patience());
  const index = JSON.parse(await readFile(join(place, 'index.json'), 'utf8')) as { manifests: unknown[] };
  assert.deepEqual(index.manifests[0], entry);
  assert.equal(index.manifests.length, 2);
});

test('a directory that is no layout is left alone', async (t) => {
  const { store, image, place } = await example(t);
  for (const [name, content] of [
    ['letter.txt', 'dear'],
    ['oci-layout', '{"imageLayoutVersion":"2.0.0"}'],
    ['oci-layout', 'garbage'],
  ] as const) {
    const target = join(place, `${name}-${content.length}`);
    await mkdir(target);
    await writeFile(join(target, name), content);
    await failsWith('usage', exportLayout(store, image, target, patience()));
    assert.deepEqual(await readdir(target), [name]);
    assert.equal(await readFile(join(target, name), 'utf8'), content);
  }
  const garbled = join(place, 'garbled');
  await mkdir(garbled);
  await writeFile(join(garbled, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(garbled, 'index.json'), '{"manifests": [');
  await failsWith('usage', exportLayout(store, image, garbled, patience()));
  assert.equal(await readFile(join(garbled, 'index.json'), 'utf8'), '{"manifests": [');
});

test('a blob that the disk has spoiled is not exported, and is gone from the store', async (t) => {
  const { store, image, place } = await example(t);
  const layer = image.manifest.layers[0];
  assert.ok(layer !== undefined);
  const path = store.blobFile(layer.digest);
  const bytes = await readFile(path);
  bytes[1000] = (bytes[1000] ?? 0) ^ 1;
  for (const [kind, target] of [
    [exportLayout, join(place, 'layout')],
    [exportArchive, join(place, 'image.tar')],
  ] as const) {
    await writeFile(path, bytes, { mode: 0o600 });
    await failsWith('verification', kind(store, image, target, patience()));
    assert.equal(await store.stat(layer.digest), undefined);
  }
  assert.deepEqual(await readdir(place), ['layout']);
  const entries = await readdir(join(place, 'layout'), { recursive: true });
  assert.ok(!entries.includes('index.json'));
  assert.ok(!entries.some((name) => name.includes('.blob') || /\/\./.test(name)), entries.join(' '));
});

test('an image of which a blob is missing is not exported', async (t) => {
  const { store, image, place, directory } = await example(t);
  const { config } = image.manifest;
  await copyFile(store.blobFile(config.digest), join(directory, 'aside'));
  await truncate(store.blobFile(config.digest), 1);
  await failsWith('not-found', exportArchive(store, image, join(place, 'image.tar'), patience()));
  assert.deepEqual(await readdir(place), []);
});

test('an archive is replaced at once, or not at all', { skip }, async (t) => {
  const { store, image, place } = await example(t);
  const path = join(place, 'image.tar');
  await writeFile(path, 'the old one');
  const stop = new AbortController();
  const exporting = exportArchive(store, image, path, stop.signal);
  stop.abort(new Error('enough'));
  await assert.rejects(exporting, /enough/);
  assert.equal(await readFile(path, 'utf8'), 'the old one');
  assert.deepEqual(await readdir(place), ['image.tar']);
  await exportArchive(store, image, path, patience());
  assert.equal(await digestBySkopeo(`oci-archive:${path}`), image.document.descriptor.digest);
});

test('what a user does to an export leaves the store as it was', async (t) => {
  const { store, image, place } = await example(t);
  const target = join(place, 'layout');
  await exportLayout(store, image, target, patience());
  const layer = image.manifest.layers[0];
  assert.ok(layer !== undefined);
  const exported = join(target, 'blobs/sha256', layer.digest.slice(7));
  await chmod(exported, 0o644);
  await truncate(exported, 10);
  assert.equal((await stat(store.blobFile(layer.digest))).mode & 0o777, 0o600);
  assert.equal(await store.verify(layer.digest), true);
  await exportLayout(store, image, target, patience());
  assert.equal((await stat(exported)).size, layer.size, 'mended');
});

test('a full disk ends an export without a trace', { skip: skipWithout('root') }, async (t) => {
  const { store, image, place } = await example(t);
  const small = join(place, 'small');
  await mkdir(small);
  await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'quayctl-test', small]);
  await failsWith('disk-full', exportArchive(store, image, join(small, 'image.tar'), patience()));
  assert.deepEqual(await readdir(small), []);
  await failsWith('disk-full', exportLayout(store, image, join(small, 'layout'), patience()));
  assert.equal(await store.verify(image.manifest.config.digest), true);
});

test('umoci finds an exported layout in order', { skip: skipWithout('umoci') }, async (t) => {
  const { store, image, place } = await example(t);
  await exportLayout(store, image, join(place, 'layout'), patience());
  await cp(join(place, 'layout'), join(place, 'copy'), { recursive: true });
  const { code, stderr } = await run('umoci', ['gc', '--layout', join(place, 'copy')]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    await readdir(join(place, 'copy/blobs/sha256')),
    await readdir(join(place, 'layout/blobs/sha256')),
  );
});
