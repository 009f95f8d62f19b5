import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { askUntilMade } from '../../src/blobs/ask-until-made.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';
import {
  BlobStage,
  contentOf,
  descriptorOf,
  HASHING,
  MemoryRegistry,
  MemoryTorrentService,
  MIB,
  never,
  NO_TORRENT,
  torrentOf,
} from './kit.ts';

const CONTENT = contentOf(2 * MIB);
const BLOB = descriptorOf(CONTENT);
const SOON = { ...HASHING, etaSeconds: 1 };
const NEARLY = { ...SOON, kind: 'hashing', size: 2 * MIB, hashed: MIB, retryAfterSeconds: 1 } as const;

test('a service that does not hold its answers is asked no more often than it says', async (t) => {
  const time = new VirtualTime(t);
  const service = new MemoryTorrentService(...Array.from({ length: 20 }, () => HASHING), NO_TORRENT);
  const waits: number[] = [];
  await time.until(
    askUntilMade(
      () => service.torrent(BLOB, 60, never),
      never,
      () => void waits.push(time.now),
    ),
  );
  assert.equal(waits.length, 20);
  assert.ok(time.now >= 19_000, `asked 21 times in ${time.now} ms`);
});

test('hashing that ends soon is waited for; else the download begins without the torrent', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const find = async (service: MemoryTorrentService) =>
    time.until(stage.origin(new MemoryRegistry(CONTENT), service).torrents.find(BLOB, 0, never));
  assert.equal((await find(new MemoryTorrentService(SOON, SOON, torrentOf(CONTENT)))).kind, 'torrent');
  assert.equal((await find(new MemoryTorrentService(HASHING))).kind, 'later');
  const forEver = new MemoryTorrentService(SOON);
  const before = time.now;
  assert.equal((await find(forEver)).kind, 'later');
  assert.ok(time.now - before <= 2100, `${time.now - before} ms`);
  const later = await find(new MemoryTorrentService(NEARLY));
  assert.ok(later.kind === 'later' && later.nearlyHashed === MIB, 'what can be read at once');
  assert.ok(forEver.questions.length <= 5, `${forEver.questions.length} questions`);
});

test('a service that is down is asked once, and what is kept of its torrents is used', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const answer = torrentOf(CONTENT);
  assert.ok(answer.kind === 'torrent');
  await stage.store.saveTorrent(BLOB.digest, answer.bytes);
  const service = new MemoryTorrentService(new QuayctlError('unreachable', 'the service is down'));
  const { torrents } = stage.origin(new MemoryRegistry(CONTENT), service);
  const unknown = descriptorOf(contentOf(MIB));
  assert.equal((await time.until(torrents.find(BLOB, 0, never))).kind, 'torrent');
  const plan = await time.until(torrents.find(unknown, 0, never));
  assert.deepEqual(plan, { kind: 'none', reason: 'the service is down' });
  assert.equal(service.questions.length, 1);
});

test('a torrent of another size or digest is refused before a byte of it is fetched', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  for (const wrong of [torrentOf(contentOf(MIB)), torrentOf(contentOf(2 * MIB, 'other'))]) {
    const { torrents } = stage.origin(new MemoryRegistry(CONTENT), new MemoryTorrentService(wrong));
    assert.equal((await time.until(torrents.find(BLOB, 0, never))).kind, 'none');
  }
  assert.match(
    stage.warnings().join('\n'),
    /refused: the torrent is of 1048576 bytes[^]*refused: the torrent is of sha256:/,
  );
});

test('an answer that was asked for ahead is used once, and not when it is old', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const service = new MemoryTorrentService(torrentOf(CONTENT));
  const { torrents } = stage.origin(new MemoryRegistry(CONTENT), service);
  torrents.askAhead(BLOB, never);
  await time.until(torrents.find(BLOB, 0, never));
  assert.equal(service.questions.length, 1);
  torrents.askAhead(BLOB, never);
  await time.advance(61_000);
  await time.until(torrents.find(BLOB, 0, never));
  assert.equal(service.questions.length, 3);
});
