import assert from 'node:assert/strict';
import { link, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour } from '../helpers/neighbour.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const SOME = `sha256:${'a'.repeat(64)}`;

interface Served {
  readonly layout: TestLayout;
  readonly service: TestService;
  readonly layer: string;
}

async function served(t: TestContext, host: string): Promise<Served> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(1000, 'a')] }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}`, listen: { host, port: 0 } });
  return { layout, service, layer: image.layers[0]?.digest ?? '' };
}

test(
  'a symbolic link in the layout gives nothing of what it leads to',
  { skip: skipWithoutNeighbour() },
  async (t) => {
    const neighbour = await openNeighbour(t);
    const { layout, service, layer } = await served(t, neighbour.here);
    const secret = join(service.data, 'secret.json');
    const statuses = async (): Promise<readonly (number | undefined)[]> => {
      const paths = [
        `/v2/team/app/blobs/${SOME}`,
        `/v2/team/app/manifests/${SOME}`,
        `/c1/torrent/team/app/blobs/${SOME}?ns=${service.host}&wait=5`,
      ];
      const answers = await neighbour.ask(paths.map((path) => ({ url: service.url + path })));
      const hmac = (JSON.parse(await readFile(secret, 'utf8')) as { hmac: string }).hmac;
      for (const { body } of answers) assert.ok(!body.includes(hmac));
      return answers.map(({ status }) => status);
    };
    const place = layout.blobPath(SOME);
    await symlink(secret, place);
    assert.deepEqual(await statuses(), [404, 404, 404], 'a link');
    await rm(place);
    await link(secret, place);
    assert.deepEqual(await statuses(), [404, 404, 404], 'a file of other content');
    await rm(place);
    // The folder of the blobs itself.
    const folder = dirname(place);
    await rename(folder, `${folder}-moved`);
    const elsewhere = await tempDirectory(t);
    await mkdir(join(elsewhere, 'blobs'));
    await writeFile(join(elsewhere, SOME.slice(7)), 'x');
    await symlink(elsewhere, folder);
    assert.deepEqual(await statuses(), [404, 404, 404], 'a link in place of the folder');
    await rm(folder);
    await rename(`${folder}-moved`, folder);
    const [blob] = await neighbour.ask([{ url: `${service.url}/v2/team/app/blobs/${layer}` }]);
    assert.equal(blob?.status, 200);
  },
);

test('a blob is looked at again when its file has changed', async (t) => {
  const { layout, service, layer } = await served(t, '127.0.0.1');
  const status = async (): Promise<number> =>
    (await fetch(`${service.url}/v2/team/app/blobs/${layer}`)).status;
  const bytes = await readFile(layout.blobPath(layer));
  assert.equal(await status(), 200);
  await writeFile(
    layout.blobPath(layer),
    bytes.map((byte, at) => (at === 5 ? byte ^ 1 : byte)),
  );
  assert.equal(await status(), 404);
  await writeFile(layout.blobPath(layer), bytes);
  assert.equal(await status(), 200);
});
