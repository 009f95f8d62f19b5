import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { mustRun } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

test(
  'skopeo copies an image out of a layout through the service',
  { skip: skipWithout('skopeo') },
  async (t) => {
    const directory = await tempDirectory(t, 'layout');
    const layout = await TestLayout.create(directory);
    const image = await layout.addImage(
      { layers: [randomLayer(300_000, 'a'), randomLayer(5, 'b')] },
      'team/app:1.0',
    );
    const service = await startService(t, { upstream: `oci:${directory}` });

    const out = await tempDirectory(t, 'copy');
    const from = `docker://${service.host}/team/app:1.0`;
    await mustRun(programPath('skopeo'), ['copy', '--src-tls-verify=false', from, `oci:${out}:x`]);
    const copied = JSON.parse(await readFile(join(out, 'index.json'), 'utf8')) as {
      manifests: { digest: string }[];
    };
    assert.equal(copied.manifests[0]?.digest, image.manifest.digest);
  },
);

test(
  'aria2c downloads a blob with only its torrent, from the web seed alone',
  { skip: skipWithout('aria2c') },
  async (t) => {
    const directory = await tempDirectory(t, 'layout');
    const layout = await TestLayout.create(directory);
    const image = await layout.addImage({ layers: [randomLayer(3_000_000, 'a')] }, 'team/app:1.0');
    const service = await startService(t, { upstream: `oci:${directory}` });
    const [layer] = image.layers;
    assert.ok(layer);

    const answer = await service.torrent('team/app', layer.digest);
    assert.deepEqual([answer.status, answer.headers.get('quay-torrent')], [200, '1']);
    const torrent = Buffer.from(await answer.arrayBuffer());
    const metainfo = decodeTorrent(torrent);
    const out = await tempDirectory(t, 'aria2');
    const file = join(out, 'blob.torrent');
    await import('node:fs/promises').then((fs) => fs.writeFile(file, torrent));
    await mustRun(programPath('aria2c'), ['--dir', out, '--seed-time=0', '--no-conf', file]);
    assert.deepEqual(await readFile(join(out, metainfo.name)), await layout.blob(layer.digest));
    assert.equal((await stat(join(service.data, 'secret.json'))).mode & 0o777, 0o600);
  },
);
