import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildInfo, decodeTorrent, encodeTorrent } from '../../src/metainfo/metainfo.ts';
import { parseImageReference } from '../../src/image/reference.ts';
import { randomBlob } from './blobs.ts';
import { newStore, storeIn } from './open.ts';

const { digest } = randomBlob(8).descriptor;
const info = buildInfo({ name: 'blob', length: 1000, pieces: Buffer.alloc(20, 1) });
const torrent = encodeTorrent(info, {
  announce: ['https://tracker.example/announce?jwt=SECRET'],
  urlList: ['https://web.example/blob?sig=SECRET'],
  digest,
});

test('a torrent is kept without tokens and web seeds', async (t) => {
  const { store, directory } = await newStore(t);
  await store.saveTorrent(digest, torrent);
  const kept = await (await storeIn(t, directory)).loadTorrent(digest);
  assert.ok(kept);
  assert.equal(Buffer.from(kept).includes('SECRET'), false);
  assert.deepEqual(decodeTorrent(kept).infoHash, decodeTorrent(torrent).infoHash);
  assert.deepEqual(decodeTorrent(kept).urlList, []);
});

test('a torrent damaged on disk is absent', async (t) => {
  const { store, directory } = await newStore(t);
  await store.saveTorrent(digest, torrent);
  const folder = join(directory, 'quayctl', 'torrents');
  for (const name of await readdir(folder)) await writeFile(join(folder, name), torrent.subarray(0, 50));
  assert.equal(await store.loadTorrent(digest), undefined);
});

test('the torrent service of a repository is remembered, without secrets', async (t) => {
  const { store, directory } = await newStore(t);
  const reference = parseImageReference('registry.example/team/app:1');
  assert.equal(await store.serviceOf(reference), undefined);
  await store.noteService(reference, new URL('http://user:SECRET@127.0.0.1:7070/'));
  const other = parseImageReference('registry.example/team/app:2');
  assert.equal((await store.serviceOf(other))?.href, 'http://127.0.0.1:7070/');
  assert.equal(await store.serviceOf(parseImageReference('registry.example/team/other')), undefined);
  const folder = join(directory, 'quayctl', 'services');
  for (const name of await readdir(folder)) {
    assert.equal((await readFile(join(folder, name), 'utf8')).includes('SECRET'), false);
  }
});

test('a host without torrents is remembered for an hour', async (t) => {
  const { store, directory } = await newStore(t);
  const { hostsWithoutTorrents } = store;
  assert.equal(await hostsWithoutTorrents.isSilent('registry.example:5000'), false);
  await hostsWithoutTorrents.remember('registry.example:5000');
  assert.equal(
    await (await storeIn(t, directory)).hostsWithoutTorrents.isSilent('registry.example:5000'),
    true,
  );
  assert.equal(await hostsWithoutTorrents.isSilent('registry.example'), false);
  const folder = join(directory, 'quayctl', 'hosts');
  const [name = ''] = await readdir(folder);
  for (const text of [String(Date.now() - 3_600_001), String(Date.now() + 60_000), 'garbage', '']) {
    await writeFile(join(folder, name), text);
    assert.equal(await hostsWithoutTorrents.isSilent('registry.example:5000'), false, text);
  }
});

test('records of garbage count as absent', async (t) => {
  const { store, directory } = await newStore(t);
  const reference = parseImageReference('registry.example/team/app:1');
  await store.noteService(reference, new URL('http://127.0.0.1:7070/'));
  for (const text of ['', '[]', '{"service":"file:///etc/passwd"}', 'x'.repeat(100_000)]) {
    const folder = join(directory, 'quayctl', 'services');
    for (const name of await readdir(folder)) await writeFile(join(folder, name), text);
    assert.equal(await store.serviceOf(reference), undefined);
  }
});
