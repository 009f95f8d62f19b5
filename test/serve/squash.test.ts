import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { TestLayout } from '../helpers/images.ts';
import type { LayerEntry } from '../helpers/layers.ts';
import { skipWithout } from '../helpers/programs.ts';
import { startPodman } from '../helpers/podman.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const BUSYBOX_LIKE = {
  Env: ['A=b'],
  Entrypoint: ['/app'],
  Cmd: ['x'],
  User: '1:2',
  WorkingDir: '/w',
  Labels: { a: 'b' },
  ExposedPorts: { '80/tcp': {} },
};

function layers(): { entries: readonly LayerEntry[] }[] {
  return [
    {
      entries: [
        { name: 'a/', type: 'directory' },
        { name: 'a/old', content: 'old' },
        { name: 'a/kept', content: 'kept' },
        { name: 'w/', type: 'directory' },
      ],
    },
    {
      entries: [
        { name: 'a/.wh.old', content: '' },
        { name: 'a/new', content: 'new' },
      ],
    },
    { entries: [{ name: 'a/kept', content: 'kept anew' }] },
  ];
}

async function served(t: TestContext): Promise<{ service: TestService; layout: TestLayout; digest: string }> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const { manifest } = await layout.addImage({ layers: layers(), run: BUSYBOX_LIKE }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  return { service, layout, digest: manifest.digest };
}

test('a squashed image is an archive of one layer, with all that the config said', async (t) => {
  const { service } = await served(t);
  const answer = await fetch(`${service.url}/c1/squash/team/app/1.0`);
  assert.equal(answer.status, 200);
  console.log(answer.headers);
  const files = await untar(Buffer.from(await answer.arrayBuffer()));
  console.log([...files.keys()], files.get('manifest.json')?.toString());
  const [{ Config, Layers, RepoTags }] = JSON.parse(files.get('manifest.json')?.toString() ?? '') as [
    { Config: string; Layers: string[]; RepoTags: string[] },
  ];
  console.log(files.get(Config)?.toString());
  console.log([...(await untar(gunzipSync(files.get(Layers[0] ?? '') ?? Buffer.alloc(0)))).keys()]);
  console.log(RepoTags);
  const torrent = await fetch(`${service.url}/c1/squash/team/app/1.0?ns=${service.host}`, {
    headers: { accept: 'application/x-bittorrent' },
  });
  console.log(decodeTorrent(Buffer.from(await torrent.arrayBuffer())));
  console.log(service.events);
});

async function untar(bytes: Uint8Array): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const entries = extract();
  entries.end(bytes);
  for await (const entry of entries) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    files.set(entry.header.name, Buffer.concat(chunks));
  }
  return files;
}
