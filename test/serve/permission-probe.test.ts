import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { startServer } from '../helpers/http-server.ts';
import { startService } from '../helpers/torrent-service.ts';

const BYTES = randomBytes(100_000);
const DIGEST = digestOf(BYTES);

/** Answers GET of a blob, ranges too. */
function give(request: IncomingMessage, response: ServerResponse): void {
  const [, start = '', end = ''] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
  if (start === '') return void response.writeHead(200, { 'content-length': BYTES.length }).end(BYTES);
  const part = BYTES.subarray(Number(start), Number(end) + 1);
  const place = `bytes ${start}-${end}/${BYTES.length}`;
  response.writeHead(206, { 'content-range': place, 'content-length': part.length }).end(part);
}

/** A service whose upstream answers blobs so. */
async function serviceOver(
  t: TestContext,
  blobs: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Awaited<ReturnType<typeof startService>>> {
  const upstream = await startServer(t, (request, response) => {
    if (request.url?.includes('/blobs/') === true || request.url?.startsWith('/page') === true) {
      blobs(request, response);
    } else response.end('{}');
  });
  return startService(t, { upstream: upstream.url });
}

for (const status of [401, 403, 404, 405, 501]) {
  test(`a registry that answers ${status} to HEAD and gives the blob still has torrents`, async (t) => {
    const service = await serviceOver(t, (request, response) => {
      if (request.method === 'HEAD') response.writeHead(status).end();
      else give(request, response);
    });
    assert.equal((await service.torrent('team/app', DIGEST)).status, 200);
  });
}

test('neither HEAD nor ranges: the whole tells the size', async (t) => {
  const service = await serviceOver(t, (request, response) => {
    if (request.method === 'HEAD') response.writeHead(405).end();
    else if (request.headers.range !== undefined) response.writeHead(416).end();
    else response.writeHead(200, { 'content-length': BYTES.length }).end(BYTES);
  });
  assert.equal((await service.torrent('team/app', DIGEST)).status, 200);
});

test('a refusal of HEAD and GET is a refusal, with its challenge', async (t) => {
  const service = await serviceOver(t, (_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
  });
  const answer = await service.torrent('team/app', DIGEST);
  assert.deepEqual([answer.status, answer.headers.get('www-authenticate')], [401, 'Basic realm="r"']);
});

test('a page in the place of a blob grants nothing, led to or at once, whatever it says of its type', async (t) => {
  for (const type of ['text/html; charset=utf-8', 'application/octet-stream', undefined]) {
    for (const isLed of [true, false]) {
      const service = await serviceOver(t, (request, response) => {
        if (request.headers.authorization !== undefined) return give(request, response);
        if (isLed && request.url?.startsWith('/page') !== true) {
          return void response.writeHead(302, { location: '/page' }).end();
        }
        const page = Buffer.from('<p>log in');
        response.writeHead(200, {
          ...(type === undefined ? {} : { 'content-type': type }),
          'content-length': page.length,
        });
        response.end(page);
      });
      const name = `${type} ${isLed}`;
      const authorization = `Basic ${Buffer.from('ada:x').toString('base64')}`;
      assert.equal((await service.torrent('team/app', DIGEST, { authorization })).status, 200, name);
      assert.equal((await service.torrent('team/app', DIGEST)).status, 403, name);
    }
  }
});
