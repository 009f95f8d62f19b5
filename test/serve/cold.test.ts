import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { digestHex, digestOf, type Digest } from '../../src/image/digest.ts';
import { startServer, type TestServer } from '../helpers/http-server.ts';
import type { Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';

const CHUNK = 64 * 1024;
const RIGHT = 'Basic cmlnaHQ6cmlnaHQ=';

interface SlowRegistry extends TestServer {
  /** GETs of blobs that were answered with bytes. */
  readonly reads: () => number;
  /** Lets the bytes behind the first half of every blob go. */
  readonly release: () => void;
}

/** A registry that gives the first half of a blob, and the rest when it is told to. */
async function slowRegistry(t: Scope, blobs: readonly Buffer[], right?: string): Promise<SlowRegistry> {
  const byDigest = new Map(blobs.map((blob) => [digestOf(blob), blob]));
  const released = Promise.withResolvers<void>();
  let reads = 0;
  const server = await startServer(t, (request, response) => {
    if (right !== undefined && request.headers.authorization !== right) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return;
    }
    const digest = /^\/v2\/team\/app\/blobs\/(sha256:[0-9a-f]{64})$/.exec(request.url ?? '')?.[1];
    const blob = byDigest.get(digest as Digest);
    if (blob === undefined) return void response.writeHead(request.url === '/v2/' ? 200 : 404).end();
    const [, from] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
    const start = Number(from ?? 0);
    const part = { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` };
    const headers = { 'content-length': blob.length - start, ...(from === undefined ? {} : part) };
    response.writeHead(from === undefined ? 200 : 206, headers);
    if (request.method === 'HEAD') return void response.end();
    reads++;
    const half = Math.max(start, Math.floor(blob.length / 2));
    response.write(blob.subarray(start, half));
    void released.promise.then(() => response.end(blob.subarray(half)));
  });
  return { ...server, reads: () => reads, release: released.resolve };
}

const blobUrl = (service: { readonly url: string }, blob: Buffer): string =>
  `${service.url}/v2/team/app/blobs/${digestOf(blob)}`;

/** Reads until so many bytes are here. */
async function readSome(answer: Response, length: number): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  for (let got = 0; got < length;) got += (await reader.read()).value?.length ?? assert.fail('it ended');
  return reader;
}

test('all who read a blob that is being hashed get it from the one reading, as it comes', async (t) => {
  const blob = randomBytes(20 * CHUNK);
  const registry = await slowRegistry(t, [blob]);
  const admin = { place: { host: '127.0.0.1', port: 0 } };
  const service = await startService(t, { upstream: registry.url, admin });
  const progress = await service.torrent('team/app', digestOf(blob), { wait: 0 });
  assert.equal(progress.status, 202);
  assert.equal(((await progress.json()) as { follow?: boolean }).follow, true);

  const followers = await Promise.all(Array.from({ length: 8 }, () => fetch(blobUrl(service, blob))));
  // Bytes come before the reading ends.
  const early = await Promise.all(
    followers.slice(1).map((answer) => readSome(answer, Math.floor(blob.length / 2))),
  );
  assert.equal(early.length, 7);
  registry.release();
  assert.deepEqual(await followers[0]?.bytes(), new Uint8Array(blob));
  const torrent = await service.torrent('team/app', digestOf(blob));
  assert.deepEqual([torrent.status, torrent.headers.get('quay-blob')], [200, 'cached']);
  const range = await fetch(blobUrl(service, blob), { headers: { range: 'bytes=10-19' } });
  assert.equal(range.status, 206);
  assert.deepEqual(Buffer.from(await range.bytes()), blob.subarray(10, 20));
  assert.equal(registry.reads(), 1);
  const metrics = await (await fetch(`${service.adminUrl}/metrics`)).text();
  for (const line of [
    'quayctl_given_blobs_total{from="reading"} 8',
    'quayctl_given_blobs_total{from="cache"} 1',
    'quayctl_cache_blobs 1',
    `quayctl_cache_bytes ${blob.length}`,
  ]) {
    assert.ok(metrics.split('\n').includes(line), line);
  }
});

test('a private blob is given to whom the registry grants it, also from the reading and from the cache', async (t) => {
  const blob = randomBytes(4 * CHUNK);
  const registry = await slowRegistry(t, [blob], RIGHT);
  const service = await startService(t, { upstream: registry.url });
  // The service has no credential: it reads with the caller's, which it keeps nowhere.
  const asked = await service.torrent('team/app', digestOf(blob), { wait: 0, authorization: RIGHT });
  assert.equal(asked.status, 202);
  const url = blobUrl(service, blob);
  const refused = async (): Promise<void> => {
    for (const headers of [{}, { authorization: 'Basic d3Jvbmc6d3Jvbmc=' }]) {
      const answer = await fetch(url, { headers });
      assert.equal(answer.status, 401);
      assert.match(answer.headers.get('www-authenticate') ?? '', /^Basic realm=/);
    }
  };
  const granted = fetch(url, { headers: { authorization: RIGHT } });
  await readSome((await granted).clone(), 2 * CHUNK);
  await refused();
  registry.release();
  assert.deepEqual(Buffer.from(await (await granted).bytes()), blob);
  const torrent = await service.torrent('team/app', digestOf(blob), { authorization: RIGHT });
  assert.equal(torrent.headers.get('quay-blob'), 'cached');
  await refused();
  const again = await fetch(url, { headers: { authorization: RIGHT } });
  assert.deepEqual(Buffer.from(await again.bytes()), blob);
  assert.equal(registry.reads(), 1);
});

test('a blob that waits for its turn is read at once for whoever would read it otherwise', async (t) => {
  const blobs = Array.from({ length: 10 }, () => randomBytes(4 * CHUNK));
  const registry = await slowRegistry(t, blobs);
  const service = await startService(t, { upstream: registry.url });
  for (const blob of blobs) {
    assert.equal((await service.torrent('team/app', digestOf(blob), { wait: 0 })).status, 202);
  }
  const last = blobs.at(-1) ?? assert.fail();
  const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(blobUrl(service, last))));
  await Promise.all(answers.map((answer) => readSome(answer, 2 * CHUNK)));
  registry.release();
  for (const blob of blobs) assert.equal((await service.torrent('team/app', digestOf(blob))).status, 200);
  assert.equal(registry.reads(), blobs.length);
});

test('without room for a blob it is hashed all the same, and read from the registry', async (t) => {
  const blob = randomBytes(4 * CHUNK);
  for (const cacheBytes of [0, blob.length - 1]) {
    const registry = await slowRegistry(t, [blob]);
    const service = await startService(t, { upstream: registry.url, cacheBytes });
    const progress = await service.torrent('team/app', digestOf(blob), { wait: 0 });
    assert.equal(((await progress.json()) as { follow?: boolean }).follow, undefined);
    registry.release();
    const torrent = await service.torrent('team/app', digestOf(blob));
    assert.deepEqual([torrent.status, torrent.headers.get('quay-blob')], [200, null]);
    assert.deepEqual(Buffer.from(await (await fetch(blobUrl(service, blob))).bytes()), blob);
    assert.equal(registry.reads(), 2);
  }
});

test('what was not used for longest makes room', async (t) => {
  const blobs = Array.from({ length: 3 }, () => randomBytes(4 * CHUNK));
  const registry = await slowRegistry(t, blobs);
  registry.release();
  const service = await startService(t, { upstream: registry.url, cacheBytes: 2 * 4 * CHUNK });
  const [first, second, third] = blobs as [Buffer, Buffer, Buffer];
  const hash = async (blob: Buffer): Promise<void> => {
    assert.equal((await service.torrent('team/app', digestOf(blob))).status, 200);
  };
  await hash(first);
  await hash(second);
  await (await fetch(blobUrl(service, first))).bytes();
  await hash(third);
  const kept = await readdir(join(service.data, 'cache/sha256'));
  assert.deepEqual(kept.sort(), [digestHex(digestOf(first)), digestHex(digestOf(third))].sort());
});

test('a service that starts again gives what is right in its cache, and nothing that is not', async (t) => {
  const blobs = [randomBytes(4 * CHUNK), randomBytes(4 * CHUNK)];
  const registry = await slowRegistry(t, blobs);
  registry.release();
  const dataDirectory = await tempDirectory(t, 'service');
  const [good, bad] = blobs as [Buffer, Buffer];
  const before = await startService(t, { upstream: registry.url, dataDirectory });
  for (const blob of blobs) await before.torrent('team/app', digestOf(blob));
  await before.close();
  await writeFile(join(dataDirectory, 'cache/sha256', digestHex(digestOf(bad))), randomBytes(4 * CHUNK));
  await writeFile(join(dataDirectory, 'cache/sha256', 'notes.txt'), 'of somebody else');

  const reads = registry.reads();
  const service = await startService(t, { upstream: registry.url, dataDirectory });
  assert.deepEqual(Buffer.from(await (await fetch(blobUrl(service, good))).bytes()), good);
  assert.equal(registry.reads(), reads);
  assert.deepEqual(Buffer.from(await (await fetch(blobUrl(service, bad))).bytes()), bad);
  assert.equal(registry.reads(), reads + 1);
  const kept = await readdir(join(dataDirectory, 'cache/sha256'));
  assert.deepEqual(kept.sort(), [digestHex(digestOf(good)), 'notes.txt'].sort());
});

test('a data directory that takes no cache costs the cache, not the service', async (t) => {
  const blob = randomBytes(4 * CHUNK);
  const registry = await slowRegistry(t, [blob]);
  registry.release();
  const dataDirectory = await tempDirectory(t, 'service');
  await writeFile(join(dataDirectory, 'cache'), 'a file where a directory should be');
  const service = await startService(t, { upstream: registry.url, dataDirectory });
  assert.equal((await service.torrent('team/app', digestOf(blob))).status, 200);
  assert.deepEqual(Buffer.from(await (await fetch(blobUrl(service, blob))).bytes()), blob);
});

test('a registry that breaks off is asked for the rest, and followers get all of it', async (t) => {
  const blob = randomBytes(8 * CHUNK);
  let reads = 0;
  const registry = await startServer(t, (request, response) => {
    if (request.url === '/v2/') return void response.end();
    const [, from] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
    const start = Number(from ?? 0);
    const part = { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` };
    response.writeHead(from === undefined ? 200 : 206, {
      'content-length': blob.length - start,
      ...(from === undefined ? {} : part),
    });
    if (request.method === 'HEAD') return void response.end();
    if (++reads > 1) return void response.end(blob.subarray(start));
    response.write(blob.subarray(0, 2 * CHUNK));
    void sleep(300).then(() => response.destroy());
  });
  const service = await startService(t, { upstream: registry.url });
  assert.equal((await service.torrent('team/app', digestOf(blob), { wait: 0 })).status, 202);
  assert.deepEqual(Buffer.from(await (await fetch(blobUrl(service, blob))).bytes()), blob);
  assert.equal(reads, 2);
});
