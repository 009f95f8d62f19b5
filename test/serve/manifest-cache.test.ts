import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ManifestCache } from '../../src/serve/manifests/manifest-cache.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const SKIP = { skip: skipWithout('docker-registry', 'htpasswd') };
const ALICE = `Basic ${Buffer.from('alice:right-password').toString('base64')}`;
/** The service waits 5 s for an upstream that hangs. */
const HANGING_MS = 10_000;

test(
  'a manifest that was served is served while the upstream is gone, to whom it was served',
  SKIP,
  async (t) => {
    const auth = { kind: 'htpasswd', username: 'alice', password: 'right-password' } as const;
    const registry = await startRegistry(t, { auth });
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const { manifest } = await layout.addImage({ layers: [randomLayer(1000, 'a')] });
    await pushImage(layout, manifest, {
      url: registry.url,
      repository: 'team/app',
      tag: '1.0',
      authorization: ALICE,
    });
    const pipe = await startHttpFaultProxy(t, registry.url);
    const service = await startService(t, { upstream: pipe.url });
    const ask = async (selector: string, authorization = ALICE, method = 'GET') => {
      const url = `${service.url}/v2/team/app/manifests/${selector}`;
      const answer = await fetch(url, { method, headers: { accept: manifest.mediaType, authorization } });
      return { status: answer.status, headers: answer.headers, text: await answer.text() };
    };
    const before = await ask('1.0');
    assert.equal(before.status, 200);
    for (const kind of ['names', 'documents']) {
      const folder = join(service.data, 'manifests', kind);
      assert.equal((await stat(folder)).mode & 0o777, 0o700);
      for (const name of await readdir(folder)) {
        assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600);
      }
    }

    await t.test('refused connections', async () => {
      await pipe.down();
      const after = await ask('1.0');
      assert.deepEqual([after.status, after.text], [200, before.text]);
      assert.equal(after.headers.get('content-type'), manifest.mediaType);
      assert.equal(after.headers.get('docker-content-digest'), manifest.digest);
      assert.match(after.headers.get('warning') ?? '', /^110 /);
      assert.equal((await ask('1.0', ALICE, 'HEAD')).text, '');
      assert.equal((await ask('2.0')).status, 502, 'never served');
      assert.equal((await ask('1.0', 'Basic Ym9iOnNlY3JldA==')).status, 502, 'to nobody else');
      await pipe.up();
    });

    await t.test('500, silence', async () => {
      for (const fault of [{ status: 500 }, { silent: true }]) {
        pipe.faults.splice(0, 1, fault);
        const started = performance.now();
        assert.deepEqual([(await ask('1.0')).text], [before.text], JSON.stringify(fault));
        assert.ok(performance.now() - started < HANGING_MS);
      }
      pipe.faults.length = 0;
    });

    await t.test('a refusal of the upstream ends it', async () => {
      pipe.faults.push({ status: 403 });
      assert.equal((await ask('1.0')).status, 403);
      pipe.faults.splice(0, 1, { status: 500 });
      assert.equal((await ask('1.0')).status, 500);
    });
  },
);

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

test('a document is kept once, however many names it has, and all of them have a bound of bytes', async (t) => {
  const folder = await tempDirectory(t);
  const cache = new ManifestCache(folder, { maxNames: 100, maxBytes: 1_000_000 });
  const bytes = Buffer.alloc(300_000, 'm');
  for (let tag = 0; tag < 50; tag++) await cache.keep('team/app', `v${tag}`, { mediaType: MANIFEST, bytes });
  const documents = join(folder, 'manifests/documents');
  assert.equal((await readdir(documents)).length, 1);
  for (let at = 0; at < 20; at++) {
    const other = Buffer.alloc(100_000, `${at}`);
    await cache.keep('team/app', `w${at}`, { mediaType: MANIFEST, bytes: other });
  }
  const sizes = (await readdir(documents)).map(async (name) => (await stat(join(documents, name))).size);
  assert.ok((await Promise.all(sizes)).reduce((sum, size) => sum + size, 0) <= 1_000_000);
  assert.ok((await cache.find('team/app', 'w19')) !== undefined, 'the latest is there');
  for (let tag = 0; tag < 200; tag++) await cache.keep('team/app', `v${tag}`, { mediaType: MANIFEST, bytes });
  assert.ok((await readdir(join(folder, 'manifests/names'))).length <= 101);
});

test('an index is not replaced by one of its manifests, but by another image', async (t) => {
  const cache = new ManifestCache(await tempDirectory(t));
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const { index, images } = await layout.addIndex([
    { layers: [randomLayer(1000, 'a')], architecture: 'amd64' },
    { layers: [randomLayer(1000, 'b')], architecture: 'arm64' },
  ]);
  const keep = async (digest: string, mediaType: string): Promise<void> =>
    cache.keep('team/app', '1.0', { mediaType, bytes: await layout.blob(digest) });
  const kept = async (): Promise<string | undefined> => (await cache.find('team/app', '1.0'))?.mediaType;
  await keep(index.digest, INDEX);
  await keep(images[0]?.manifest.digest ?? '', MANIFEST);
  assert.equal(await kept(), INDEX);
  const other = await layout.addImage({ layers: [randomLayer(1000, 'c')] });
  await keep(other.manifest.digest, MANIFEST);
  assert.equal(await kept(), MANIFEST);
});
