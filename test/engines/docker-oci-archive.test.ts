import assert from 'node:assert/strict';
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { test, type TestContext } from 'node:test';
import { archive, type ArchivePart } from '../../src/engines/archive.ts';
import { layerFile } from '../../src/engines/layer-file.ts';
import { ociDocuments, ociImage, type OciImage } from '../../src/engines/oci-archive.ts';
import { blobPath } from '../../src/image/layout.ts';
import type { RunnableImage } from '../../src/image/manifest.ts';
import { TestLayout } from '../helpers/images.ts';
import { mustRun, startProcess, type RunningProcess } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { file, NEVER, runnable, TestFeed } from './engine-images.ts';

const NAME = 'quay.example/team/app:1';

for (const compression of ['gzip', 'zstd'] as const) {
  test(
    `containerd takes the archive under its name, with the registry's digest (${compression})`,
    {
      skip: skipWithout('root', 'containerd', 'ctr'),
    },
    async (t) => {
      const { image, path } = await written(t, compression);
      const ctr = await startContainerd(t);
      await ctr('images', 'import', path);
      const listed = await ctr('images', 'ls', `name==${NAME}`);
      assert.ok(listed.includes(image.document.descriptor.digest), listed);
    },
  );
}

test(
  'other tools read the archive as an OCI layout and as an archive of docker save',
  {
    skip: skipWithout('skopeo'),
  },
  async (t) => {
    const { image, path } = await written(t, 'gzip');
    const format = ['--format', '{{.Digest}}'];
    const oci = await mustRun('skopeo', ['inspect', ...format, `oci-archive:${path}`]);
    assert.equal(oci.trim(), image.document.descriptor.digest);
    const config = await mustRun('skopeo', ['inspect', '--raw', '--config', `docker-archive:${path}`]);
    assert.equal(config, Buffer.from(image.config.bytes).toString());
  },
);

async function written(
  t: TestContext,
  compression: 'gzip' | 'zstd',
): Promise<{ image: RunnableImage; path: string }> {
  const directory = await tempDirectory(t, 'archive');
  const layout = await TestLayout.create(join(directory, 'layout'));
  const again = { entries: [file('twice', 'twice')], compression };
  const built = await layout.addImage({
    layers: [{ entries: [file('first', 'first')], compression }, again, again],
  });
  const image = await runnable(layout, built, NAME);
  const path = join(directory, 'image.tar');
  const upload = archive(parts(ociImage(image, NAME, false), new TestFeed(layout)), NEVER);
  await pipeline(upload.body, createWriteStream(path));
  assert.equal(upload.failure(), undefined);
  return { image, path };
}

async function* parts(oci: OciImage, feed: TestFeed): AsyncGenerator<ArchivePart> {
  yield* ociDocuments(oci);
  for (const layer of new Map(oci.layers.map((it) => [it.digest, it])).values()) {
    yield await layerFile(blobPath(layer.digest), layer, feed, true, new AbortController().signal);
  }
}

/** A containerd of its own. @returns `ctr` against it */
async function startContainerd(t: TestContext): Promise<(...args: string[]) => Promise<string>> {
  const started: RunningProcess[] = [];
  t.after(async () => {
    for (const daemon of started) await daemon.kill();
  });
  const directory = await tempDirectory(t, 'containerd');
  const address = join(directory, 'containerd.sock');
  await mkdir(join(directory, 'state'));
  const daemon = startProcess(programPath('containerd'), [
    `--root=${join(directory, 'root')}`,
    `--state=${join(directory, 'state')}`,
    `--address=${address}`,
    `--config=/dev/null`,
  ]);
  started.push(daemon);
  await daemon.waitFor(/containerd successfully booted/);
  return (...args) => mustRun(programPath('ctr'), ['--address', address, '--namespace', 'test', ...args]);
}
