import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualTime } from '../helpers/virtual-time.ts';
import {
  BlobStage,
  contentOf,
  descriptorOf,
  MemoryRegistry,
  MemoryTorrentService,
  MIB,
  never,
  NO_TORRENT,
  torrentOf,
} from './kit.ts';

const CONTENT = contentOf(2 * MIB);
const BLOB = descriptorOf(CONTENT);

test('a swarm that is complete goes on giving, and counts what peers have taken', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const { seeds } = stage.downloads;
  const origin = stage.origin(new MemoryRegistry(CONTENT), new MemoryTorrentService(torrentOf(CONTENT)));
  await time.until(stage.downloads.fetch(BLOB, origin, never));
  assert.deepEqual(seeds.digests(), [BLOB.digest]);
  stage.swarm.peers.uploaded = 5;
  assert.deepEqual(seeds.totals(), { torrents: 1, peers: 0, uploaded: 5, takers: 0 });
  const [other] = [descriptorOf(contentOf(1)).digest];
  assert.equal(seeds.totals([other]).uploaded, 0, 'only of the blobs that were asked about');
  await seeds.close();
  assert.deepEqual(seeds.totals([BLOB.digest]), { torrents: 0, peers: 0, uploaded: 5, takers: 0 });
  assert.equal(stage.swarm.left.length, 1);
});

test('a blob of the store is joined once, however many want to give it', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const none = stage.origin(new MemoryRegistry(CONTENT), new MemoryTorrentService(NO_TORRENT));
  await time.until(stage.downloads.fetch(BLOB, none, never));
  const { seeds } = stage.downloads;
  await assert.rejects(time.until(seeds.seed(BLOB, none, never)), {
    code: 'no-torrent',
    message: 'it serves no torrents',
  });
  const origin = stage.origin(new MemoryRegistry(CONTENT), new MemoryTorrentService(torrentOf(CONTENT)));
  await time.until(Promise.all([1, 2, 3].map(() => seeds.seed(BLOB, origin, never))));
  assert.equal(stage.swarm.joined.length, 1);
  assert.equal(seeds.has(BLOB.digest), true);
});
