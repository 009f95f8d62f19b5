import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QuayctlError } from '../../src/base/errors.ts';
import type { TorrentAnswer } from '../../src/registry/repository.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';
import {
  BlobStage,
  contentOf,
  descriptorOf,
  HASHING,
  MemoryRegistry,
  MemoryTorrentService,
  MIB,
  torrentOf,
} from './kit.ts';

const CONTENT = contentOf(16 * MIB);
const BLOB = descriptorOf(CONTENT);
const FOLLOWED: TorrentAnswer = { ...(HASHING as TorrentAnswer & { kind: 'hashing' }), isFollowed: true };

/** A torrent service that gives the blob, too. */
class ServiceWithBlob extends MemoryTorrentService {
  readonly own = new MemoryRegistry(CONTENT);
  readonly blob = this.own.open.bind(this.own);
}

test('a blob that is being hashed is read at the service that reads it, and the registry gives nothing', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  const service = new ServiceWithBlob(FOLLOWED);
  service.own.chunkMs = 50;
  const download = stage.downloads.start(BLOB, stage.origin(registry, service));
  await time.until(download.done);
  assert.deepEqual([registry.given, service.own.given], [0, CONTENT.length]);
  assert.equal(download.states.join(' '), 'queued begin find registry-until-hashed commit done');
});

test('hashes that come when nearly all is here start no swarm; those that come before do', async (t) => {
  for (const [hashedAfter, states] of [
    [0.97, 'queued begin find registry-until-hashed commit done'],
    [0.3, 'queued begin find registry-until-hashed swarm commit done'],
  ] as const) {
    const time = new VirtualTime(t);
    const stage = new BlobStage();
    stage.swarm.peers.content = CONTENT;
    const service = new ServiceWithBlob(FOLLOWED, FOLLOWED, torrentOf(CONTENT));
    service.own.chunkMs = 50;
    const wholeMs = (CONTENT.length / 65536) * service.own.chunkMs;
    const torrent = service.torrent.bind(service);
    let asked = 0;
    // The last question is held until the hashes are there.
    service.torrent = async (...args) => {
      if (++asked === 3) await new Promise((resolve) => setTimeout(resolve, wholeMs * hashedAfter));
      return torrent(...args);
    };
    const download = stage.downloads.start(BLOB, stage.origin(new MemoryRegistry(CONTENT), service));
    await time.until(download.done);
    assert.equal(download.states.join(' '), states);
    t.mock.timers.reset();
  }
});

test('where the service breaks off, the registry gives the rest', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  const service = new ServiceWithBlob(FOLLOWED);
  service.own.chunkMs = 10;
  const download = stage.downloads.start(BLOB, stage.origin(registry, service));
  setTimeout(() => (service.own.failure = new QuayctlError('unreachable', 'it went away')), 500);
  await time.until(download.done);
  assert.ok(service.own.given > 0 && registry.given > 0);
  assert.equal(service.own.given + registry.given, CONTENT.length);
});

test('a service that has the blob takes the place of the registry in the swarm', async (t) => {
  const time = new VirtualTime(t);
  const stage = new BlobStage();
  const registry = new MemoryRegistry(CONTENT);
  const torrent = torrentOf(CONTENT) as TorrentAnswer & { kind: 'torrent' };
  const service = new ServiceWithBlob({ ...torrent, isCached: true });
  const download = stage.downloads.start(BLOB, stage.origin(registry, service));
  await time.until(download.done);
  assert.deepEqual([registry.given, service.own.given], [0, CONTENT.length]);
});
