import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { before, describe, test } from 'node:test';
import { digestOf, OCI } from '../helpers/odd-images.ts';
import type { Scope } from '../helpers/processes.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { startService } from '../helpers/torrent-service.ts';

/** Bytes of the layer. Above 4 GiB, where numbers of 32 bits end. */
const SIZE = Number(process.env['LARGE_LAYER'] ?? 4_600_000_000);
const BLOCK = 16;

/** Bytes `start` to `end` of a layer that nobody has to keep: AES in counter mode can begin anywhere. */
function* bytesOf(start: number, end: number): Generator<Buffer> {
  const first = Math.floor(start / BLOCK);
  const counter = Buffer.alloc(BLOCK);
  counter.writeBigUInt64BE(BigInt(first), 8);
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(BLOCK, 7), counter);
  let skip = start - first * BLOCK;
  for (let left = end - start; left > 0;) {
    const chunk = cipher.update(Buffer.alloc(Math.min(1 << 20, left + skip))).subarray(skip);
    skip = 0;
    left -= chunk.length;
    yield chunk;
  }
}

describe('conformance: a layer of more than 4 GiB', () => {
  const scope = suiteScope();
  let host: string;
  let digest: string;
  before(async () => {
    const hash = createHash('sha256');
    for (const chunk of bytesOf(0, SIZE)) hash.update(chunk);
    const layer = `sha256:${hash.digest('hex')}`;
    const config = Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        rootfs: { type: 'layers', diff_ids: [layer] },
      }),
    );
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI.manifest,
        config: { mediaType: OCI.config, digest: digestOf(config), size: config.length },
        layers: [{ mediaType: OCI.layer, digest: layer, size: SIZE }],
      }),
    );
    digest = digestOf(manifest);
    host = await serve(scope, { manifest, config, layer });
  });

  test('D16: alone', async (t) => {
    const node = await quayctlNode(t);
    const output = await node.run(['torrent', 'pull', `${host}/team/large:1`, '--json']);
    const receipt = receiptOf(output);
    assert.deepEqual([receipt.digest, receipt.total.wasted], [digest, 0]);
  });

  test('D16: by a torrent', async (t) => {
    const service = await startService(t, { upstream: `http://${host}`, aliases: [host] });
    const node = await quayctlNode(t);
    const flags = ['--torrent-service', service.url, '--json'];
    const output = await node.run(['torrent', 'pull', `${host}/team/large:1`, ...flags]);
    assert.equal(receiptOf(output).digest, digest);
    const [metrics] = service.events.filter(({ kind }) => kind === 'hashed');
    assert.ok(metrics !== undefined, 'the service has made its piece hashes');
  });
});

interface Served {
  readonly manifest: Buffer;
  readonly config: Buffer;
  readonly layer: string;
}

/** @returns `HOST:PORT` of a registry with this one image */
async function serve(scope: Scope, { manifest, config, layer }: Served): Promise<string> {
  const answer = async (path: string, range: string, response: ServerResponse): Promise<void> => {
    if (path === '/v2/') return void response.end('{}');
    if (path.includes('/manifests/')) {
      return void response.writeHead(200, { 'content-type': OCI.manifest }).end(manifest);
    }
    if (path.endsWith(digestOf(config))) return void response.end(config);
    if (!path.endsWith(layer)) return void response.writeHead(404).end();
    const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
    const [start, end] = [Number(from), to === '' ? SIZE : Math.min(SIZE, Number(to) + 1)];
    const headers = { 'content-length': end - start, 'content-range': `bytes ${start}-${end - 1}/${SIZE}` };
    response.writeHead(range === '' ? 200 : 206, headers);
    await pipeline(Readable.from(bytesOf(start, end)), response);
  };
  const server = createServer((request, response) => {
    const range = request.headers.range ?? '';
    if (request.method === 'HEAD' && request.url?.endsWith(layer) === true) {
      return void response.writeHead(200, { 'content-length': SIZE }).end();
    }
    answer(request.url ?? '', range, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
