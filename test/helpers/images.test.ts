import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { startDockerd } from './dockerd.ts';
import { TestLayout, randomLayer } from './images.ts';
import { mustRun } from './processes.ts';
import { programPath, skipWithout } from './programs.ts';
import { pushImage } from './push.ts';
import { startRegistry } from './registry.ts';
import { tempDirectory } from './temp.ts';

test('skopeo takes the layouts that are built here', { skip: skipWithout('skopeo') }, async (t) => {
  const directory = await tempDirectory(t);
  const layout = await TestLayout.create(join(directory, 'layout'));
  const layers = (['gzip', 'zstd', 'none'] as const).map((compression) => ({
    ...randomLayer(50_000, compression),
    compression,
  }));
  const image = await layout.addImage({ layers }, 'app:1');
  const source = `oci:${layout.directory}:app:1`;
  const copy = `oci:${join(directory, 'copy')}:app:1`;
  await mustRun(programPath('skopeo'), ['copy', '--preserve-digests', source, copy]);
  const config = await mustRun(programPath('skopeo'), ['inspect', '--raw', copy]);
  assert.ok(config.includes(image.config.digest));
});

test(
  'a real registry takes what is pushed, and a real dockerd pulls and runs it',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry') },
  async (t) => {
    const registry = await startRegistry(t);
    const layout = await TestLayout.create(await tempDirectory(t));
    const files = { entries: [{ name: 'etc/greeting', content: 'hello', mode: 0o644 }] };
    const { index, images } = await layout.addIndex([
      { format: 'docker', layers: [files, randomLayer(300_000, 'a')] },
      { format: 'docker', layers: [files], architecture: 's390x' },
    ]);
    await pushImage(layout, index, { url: registry.url, repository: 'team/app', tag: '1.0' });

    const engine = await startDockerd(t);
    const pulled = await engine.docker('pull', `${registry.host}/team/app:1.0`);
    assert.equal(pulled.code, 0, pulled.stderr);
    const answer = await engine.api('GET', `/images/${registry.host}/team/app:1.0/json`);
    assert.equal((JSON.parse(answer.text) as { Id: string }).Id, images[0]?.config.digest);
  },
);
