import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

interface Seeded {
  readonly service: TestService;
  readonly layout: TestLayout;
  readonly digest: string;
  readonly blob: Buffer;
  /** The signed URL. */
  readonly url: string;
}

async function seeded(t: TestContext, options: { tokenTtlSeconds?: number } = {}): Promise<Seeded> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(100_000, 'a')] }, 'team/app:1.0');
  const digest = image.layers[0]?.digest ?? '';
  const service = await startService(t, { upstream: `oci:${layout.directory}`, ...options });
  const url = await webSeed(service, digest);
  return { service, layout, digest, blob: await layout.blob(digest), url };
}

async function webSeed(service: TestService, digest: string): Promise<string> {
  const answer = await service.torrent('team/app', digest);
  const [url] = decodeTorrent(Buffer.from(await answer.arrayBuffer())).urlList;
  return url ?? assert.fail('no web seed');
}

test('a web seed gives its blob, in whole and in parts, and refuses several ranges', async (t) => {
  const { url, blob, digest } = await seeded(t);
  const etag = `"${digest}"`;
  const { length } = blob;
  for (const [headers, status, start, end] of [
    [{}, 200, 0, length],
    [{ range: 'bytes=0-99' }, 206, 0, 100],
    [{ range: `bytes=${length - 5}-` }, 206, length - 5, length],
    [{ range: 'bytes=-5' }, 206, length - 5, length],
    [{ range: 'bytes=0-99', 'if-range': etag }, 206, 0, 100],
    [{ range: 'bytes=0-99', 'if-range': '"other"' }, 200, 0, length],
    [{ range: 'lines=0-99' }, 200, 0, length],
    [{ range: 'bytes=0-1,5-6' }, 416, 0, 0],
    [{ range: `bytes=${length}-` }, 416, 0, 0],
    [{ 'if-none-match': etag }, 304, 0, 0],
  ] as const) {
    const answer = await fetch(url, { headers });
    const what = JSON.stringify(headers);
    assert.equal(answer.status, status, what);
    assert.equal(answer.headers.get('etag'), etag, what);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), blob.subarray(start, end), what);
    if (status === 206)
      assert.equal(answer.headers.get('content-range'), `bytes ${start}-${end - 1}/${length}`);
    if (status === 416) assert.equal(answer.headers.get('content-range'), `bytes */${length}`);
  }
});

test('HEAD is answered by the service itself', async (t) => {
  const { url, layout, digest, blob } = await seeded(t);
  await rm(layout.blobPath(digest));
  const answer = await fetch(url, { method: 'HEAD' });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-length'), String(blob.length));
  assert.equal(answer.headers.get('accept-ranges'), 'bytes');
  const gone = await fetch(url);
  assert.equal(gone.status, 502);
});

test('a signature opens one blob of one repository until it expires, nothing else', async (t) => {
  const { url, digest, layout, service } = await seeded(t);
  const other = await layout.addImage({ layers: [randomLayer(10, 'b')] }, 'team/other:1.0');
  const otherUrl = await webSeed(service, digest);
  const expires = new URL(url).searchParams.get('expires') ?? '';
  const signature = new URL(otherUrl).searchParams.get('signature') ?? '';
  const path = (repository: string, blob: string): string => `${service.url}/ws/${repository}/blobs/${blob}`;
  for (const wrong of [
    path('team/app', digest),
    `${path('team/app', digest)}?expires=${expires}`,
    `${path('team/app', digest)}?signature=${signature}`,
    `${path('team/other', digest)}?expires=${expires}&signature=${signature}`,
    `${path('team/app', other.config.digest)}?expires=${expires}&signature=${signature}`,
    `${path('team/app', digest)}?expires=${Number(expires) + 1}&signature=${signature}`,
    `${path('team/app', digest)}?expires=${expires}&signature=${signature.slice(0, -1)}`,
    `${path('team/app', digest)}?expires=${expires}&signature=${'A'.repeat(43)}`,
    `${path('team/app', digest)}?expires=${expires}&signature=${signature}%00`,
  ]) {
    for (const method of ['GET', 'HEAD']) assert.equal((await fetch(wrong, { method })).status, 403, wrong);
  }
});

test('an expired signature opens nothing', async (t) => {
  const { url } = await seeded(t, { tokenTtlSeconds: 1 });
  const expires = Number(new URL(url).searchParams.get('expires')) * 1000;
  while (Date.now() <= expires) await sleep(50);
  assert.equal((await fetch(url)).status, 403);
});

test('neither signature nor secret is in the events', async (t) => {
  const { url, service } = await seeded(t);
  await fetch(url);
  const { searchParams } = new URL(url);
  const { hmac } = JSON.parse(await readFile(`${service.data}/secret.json`, 'utf8')) as { hmac: string };
  const log = JSON.stringify(service.events);
  assert.match(log, /"path":"\/ws\/team\/app/);
  for (const secret of [searchParams.get('signature') ?? '', hmac]) assert.ok(!log.includes(secret));
});

/** A registry that keeps its blobs in a storage on another origin, as most large ones do. */
async function redirectingRegistry(
  t: TestContext,
  blob: Buffer,
): Promise<{ url: string; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    seen.push(request);
    if (request.url === '/v2/') return void response.end('{}');
    if (request.url?.startsWith('/v2/') === true) {
      const location = `http://127.0.0.1:${storagePort}/storage/blob?X-Signature=abc`;
      return void response.writeHead(307, { location }).end('<a>moved</a>');
    }
    // Signed for GET, as S3 does it: HEAD is refused.
    if (request.method === 'HEAD') return void response.writeHead(403).end();
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    if (first === undefined) return void response.end(blob);
    const part = blob.subarray(Number(first), Number(last) + 1);
    const range = `bytes ${first}-${Number(first) + part.length - 1}/${blob.length}`;
    response.writeHead(206, { 'content-range': range }).end(part);
  };
  const [front, storage] = [createServer(answer), createServer(answer)];
  const ports: number[] = [];
  for (const server of [front, storage]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.push((server.address() as AddressInfo).port);
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
  }
  const storagePort = ports[1];
  return { url: `http://127.0.0.1:${ports[0]}`, seen };
}

test('where the registry redirects to storage, clients are sent there, and hashing follows without credentials', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'blobs'));
  const bytes = Buffer.alloc(70_000, 'blob');
  const { digest } = await layout.addBlob('application/octet-stream', bytes);
  const registry = await redirectingRegistry(t, bytes);
  const service = await startService(t, { upstream: registry.url, cacheBytes: 0 });

  const authorization = 'Bearer opaque';
  const answer = await service.torrent('team/app', digest, { authorization });
  assert.equal(answer.status, 200);
  const { urlList, geometry } = decodeTorrent(Buffer.from(await answer.arrayBuffer()));
  assert.equal(geometry.length, bytes.length);
  const toStorage = registry.seen.filter((request) => request.url?.startsWith('/storage') === true);
  assert.ok(
    toStorage.length > 0 && toStorage.every((request) => request.headers.authorization === undefined),
  );

  const blobUrl = `${service.url}/v2/team/app/blobs/${digest}`;
  for (const url of [urlList[0] ?? '', blobUrl]) {
    const redirected = await fetch(url, { redirect: 'manual', headers: { range: 'bytes=10-19' } });
    assert.equal(redirected.status, 307);
    assert.match(redirected.headers.get('location') ?? '', /\/storage\/blob\?X-Signature=abc$/);
    assert.equal(redirected.headers.get('referrer-policy'), 'no-referrer');
    const followed = await fetch(url, { headers: { range: 'bytes=10-19' } });
    assert.deepEqual(Buffer.from(await followed.arrayBuffer()), bytes.subarray(10, 20));
  }
});
