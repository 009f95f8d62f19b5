import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import { storeSource } from '../../src/blobs/blob-source.ts';
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

const CONTENT = contentOf(16 * MIB);
const BLOB = descriptorOf(CONTENT);
const PIECES = 64;

/** Reads in the background. */
function follow(chunks: AsyncIterable<Uint8Array>): {
  bytes: Buffer[];
  length: () => number;
  end: Promise<void>;
} {
  const bytes: Buffer[] = [];
  const length = (): number => bytes.reduce((sum, each) => sum + each.length, 0);
  const read = async (): Promise<void> => {
    for await (const chunk of chunks) bytes.push(Buffer.from(chunk));
  };
  const end = read();
  end.catch(() => undefined);
  return { bytes, length, end };
}

test('a reader gets bytes while they arrive, its own position first, and the last one at the end', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  stage.swarm.peers.content = CONTENT;
  const origin = stage.origin(new MemoryRegistry(CONTENT), new MemoryTorrentService(torrentOf(CONTENT)));
  const download = stage.downloads.start(BLOB, origin);
  const reading = follow(download.reader());
  await time.advance((PIECES / 2) * stage.swarm.peers.pieceMs);
  // Without a reader the client of this test fetches from the end.
  assert.ok(reading.length() > CONTENT.length / 3, `${reading.length()} bytes in half of the time`);
  assert.equal(await stage.store.stat(BLOB.digest), undefined);
  await time.until(reading.end);
  assert.deepEqual(Buffer.concat(reading.bytes), CONTENT);
  assert.equal((await download.done).fromPeers, CONTENT.length);
});

test('a reader that can wait leaves the order to the swarm', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  stage.swarm.peers.content = CONTENT;
  const origin = stage.origin(new MemoryRegistry(CONTENT), new MemoryTorrentService(torrentOf(CONTENT)));
  const download = stage.downloads.start(BLOB, origin);
  const reading = follow(download.reader(0, BLOB.size, never, { isUrgent: false }));
  await time.until(reading.end);
  assert.deepEqual(Buffer.concat(reading.bytes), CONTENT);
  assert.deepEqual(
    stage.swarm.order,
    stage.swarm.order.toSorted((a, b) => b - a),
  );
});

test('two readers and a pull share one download, and each gets its range', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  const origin = stage.origin(registry, new MemoryTorrentService(torrentOf(CONTENT)));
  const other = stage.origin(registry, new MemoryTorrentService(torrentOf(CONTENT)));
  const download = stage.downloads.start(BLOB, origin);
  const [tail, middle] = [
    follow(download.reader(10 * MIB)),
    follow(stage.downloads.start(BLOB, other).reader(MIB + 1, 2 * MIB - 1)),
  ];
  const outcome = stage.downloads.fetch(BLOB, other, never);
  await time.until(Promise.all([tail.end, middle.end, outcome]));
  assert.deepEqual(Buffer.concat(tail.bytes), CONTENT.subarray(10 * MIB));
  assert.deepEqual(Buffer.concat(middle.bytes), CONTENT.subarray(MIB + 1, 2 * MIB - 1));
  assert.equal(registry.given, CONTENT.length);
  assert.equal((await outcome).fromStore, CONTENT.length, 'the bytes are told once, by who fetched them');
  assert.equal(stage.swarm.joined.length, 1);
});

test('without a torrent nothing is given out before the digest of the whole is checked', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  registry.chunkMs = 10;
  const download = stage.downloads.start(BLOB, stage.origin(registry, new MemoryTorrentService(NO_TORRENT)));
  const reading = follow(download.reader());
  await time.advance(2000);
  assert.ok(download.progress().received > MIB);
  assert.equal(reading.length(), 0);
  await time.until(reading.end);
  assert.deepEqual(Buffer.concat(reading.bytes), CONTENT);
});

test('a reader of what is not verified gets bytes as they arrive, and the last one after the check', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  registry.chunkMs = 10;
  const download = stage.downloads.start(BLOB, stage.origin(registry, new MemoryTorrentService(NO_TORRENT)));
  const reading = follow(download.reader(0, BLOB.size, never, { isVerified: false }));
  await time.advance(2000);
  assert.ok(reading.length() > MIB && reading.length() < CONTENT.length);
  await time.until(reading.end);
  assert.deepEqual(Buffer.concat(reading.bytes), CONTENT);
});

for (const [damaged, end] of [
  [1, 'is mended'],
  [2, 'stays wrong'],
] as const) {
  test(`a reader of what is not verified never gets all of a blob that is wrong, which then ${end}`, async (t) => {
    const time = new VirtualTime(t);
    const stage = new BlobStage();
    const registry = new MemoryRegistry(CONTENT);
    registry.chunkMs = 10;
    registry.damaged = damaged;
    const origin = stage.origin(registry, new MemoryTorrentService(NO_TORRENT));
    const download = stage.downloads.start(BLOB, origin);
    const reading = follow(download.reader(0, BLOB.size, never, { isVerified: false }));
    const whole = download.wait(never);
    whole.catch(() => undefined);
    await assert.rejects(time.until(reading.end), { code: 'verification' });
    assert.ok(reading.length() < CONTENT.length);
    if (damaged === 1) await time.until(whole);
    else await assert.rejects(time.until(whole), { code: 'verification' });
  });
}

test('what came from the registry is given out as soon as hashes come that it matches', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  registry.chunkMs = 100;
  stage.swarm.peers.pieceMs = 1e6;
  const service = new MemoryTorrentService(HASHING, torrentOf(CONTENT));
  service.answerMs = 1000;
  const reading = follow(stage.downloads.start(BLOB, stage.origin(registry, service)).reader());
  await time.advance(1900);
  assert.equal(reading.length(), 0);
  await time.advance(1000);
  assert.ok(reading.length() > 0 && reading.length() < CONTENT.length);
  assert.deepEqual(Buffer.concat(reading.bytes), CONTENT.subarray(0, reading.length()));
  await stage.downloads.close();
  await assert.rejects(reading.end, { code: 'interrupted' });
});

test('nobody gets all of a blob whose torrent lies: the reader fails, a later one gets the right bytes', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const other = contentOf(CONTENT.length, 'other');
  stage.swarm.peers.content = other;
  const service = new MemoryTorrentService(torrentOf(other, BLOB.digest));
  const download = stage.downloads.start(BLOB, stage.origin(new MemoryRegistry(CONTENT), service));
  const reading = follow(download.reader());
  const late = follow(download.reader(CONTENT.length - 1));
  await assert.rejects(time.until(reading.end), { code: 'verification' });
  assert.ok(reading.length() < CONTENT.length);
  await time.until(late.end);
  assert.deepEqual(Buffer.concat(late.bytes), CONTENT.subarray(-1));
});

test('a reader that goes away ends the download after a while, unless somebody comes back', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage(60_000);
  const registry = new MemoryRegistry(CONTENT);
  registry.chunkMs = 10_000;
  const origin = stage.origin(registry, new MemoryTorrentService(NO_TORRENT));
  const download = stage.downloads.start(BLOB, origin);
  const leave = async (): Promise<void> => {
    const gone = new AbortController();
    const reading = follow(download.reader(0, 1, gone.signal));
    await time.advance(1000);
    gone.abort();
    await time.until(reading.end.catch(() => undefined));
  };
  await leave();
  await time.advance(59_000);
  assert.equal(download.isEnding, false);
  await leave();
  await time.advance(59_000);
  assert.equal(download.isEnding, false, 'the time begins anew');
  await time.advance(2000);
  assert.equal(download.isEnding, true);
  await assert.rejects(download.done, { code: 'interrupted' });
  assert.notEqual(stage.downloads.start(BLOB, origin), download);
});

test('one pull that is interrupted does not end the download of another', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  registry.chunkMs = 100;
  const origins = [1, 2].map(() => stage.origin(registry, new MemoryTorrentService(NO_TORRENT)));
  const stop = new AbortController();
  const [first, second] = origins.map((origin, at) =>
    stage.downloads.fetch(BLOB, origin, at === 0 ? stop.signal : never),
  );
  assert.ok(first !== undefined && second !== undefined);
  await time.advance(1000);
  stop.abort(new QuayctlError('interrupted', 'one of them'));
  await assert.rejects(first, { message: 'one of them' });
  await time.until(second);
  assert.equal(registry.given, CONTENT.length);
});

test('what one repository refuses, a pull from another repository still gets', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const refusing = new MemoryRegistry(CONTENT);
  refusing.firstByteMs = 1000;
  refusing.failure = new QuayctlError('unauthorized', 'not yours');
  const [bad, good] = [refusing, new MemoryRegistry(CONTENT)].map((each) =>
    stage.origin(each, new MemoryTorrentService(NO_TORRENT)),
  );
  assert.ok(bad !== undefined && good !== undefined);
  const refused = stage.downloads.fetch(BLOB, bad, never);
  const granted = stage.downloads.fetch(BLOB, good, never);
  await assert.rejects(time.until(refused), { code: 'unauthorized' });
  const outcome = await time.until(granted);
  assert.equal(outcome.fromRegistry, CONTENT.length);
});

test('two sizes for one digest are not mistaken for one download', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const origin = stage.origin(new MemoryRegistry(CONTENT), new MemoryTorrentService(NO_TORRENT));
  const right = stage.downloads.fetch(BLOB, origin, never);
  const wrong = stage.downloads.fetch({ ...BLOB, size: BLOB.size - 1 }, origin, never);
  await assert.rejects(time.until(wrong), { code: 'verification' });
  await right;
});

test('the registry alone has a rate, too, and it is 0 when nothing comes', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  registry.chunkMs = 50;
  const download = stage.downloads.start(BLOB, stage.origin(registry, new MemoryTorrentService(NO_TORRENT)));
  const end = download.wait(never);
  await time.advance(4000);
  const { downloadRate } = download.progress();
  const real = 65536 / 0.05;
  assert.ok(downloadRate > real * 0.7 && downloadRate < real * 1.3, `${downloadRate} of ${real} B/s`);
  registry.chunkMs = 60_000;
  await time.advance(10_000);
  assert.ok(download.rate < real / 10, `${download.rate} B/s`);
  registry.chunkMs = 0;
  await time.until(end);
});

test('a reader of a blob that is in the store reads the store', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  const origin = stage.origin(registry, new MemoryTorrentService(NO_TORRENT));
  await time.until(stage.downloads.fetch(BLOB, origin, never));
  const again = stage.downloads.start(BLOB, origin);
  assert.deepEqual(await buffer(again.reader(5, 1000)), CONTENT.subarray(5, 1000));
  assert.deepEqual(again.states, ['queued', 'done']);
  assert.equal(registry.given, CONTENT.length);
  const source = storeSource(stage.store);
  assert.deepEqual(await buffer(source.open(BLOB, MIB, 3 * MIB, never)), CONTENT.subarray(MIB, 3 * MIB));
});

test('an empty blob is downloaded, and read to its end at once', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const empty = Buffer.alloc(0);
  const download = stage.downloads.start(
    descriptorOf(empty),
    stage.origin(new MemoryRegistry(empty), new MemoryTorrentService(NO_TORRENT)),
  );
  await time.until(download.wait(never));
  assert.equal((await buffer(download.reader())).length, 0);
});
