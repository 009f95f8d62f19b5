import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  descriptor,
  drip,
  good,
  LAYER,
  layer,
  manifest,
  MANIFEST,
  pour,
  startHostile,
  torrent,
  type Answer,
  type Hostility,
} from '../helpers/hostile-registry.ts';
import type { TestServer } from '../helpers/http-server.ts';
import { watchMemory } from '../helpers/memory.ts';
import type { Output } from '../helpers/processes.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { assertFails, receiptOf, verifiedBlobs } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

const EMPTY_GZIP_BOMB = gzipSync(Buffer.alloc(64 * 1024 * 1024));
/** A quayctl that does nothing has some 100 MB. */
const MAX_MEMORY_BYTES = 400 * 1024 * 1024;
/** The store, what Node keeps of the program's own code, and the node's key. */
const OWN = /^(?:store|cache$|cache\/quayctl-code|\.local(?:\/state(?:\/quayctl(?:\/node\.key)?)?)?$)/;

/** Runs a pull; its memory is watched, and afterwards what it has written and where. */
async function pullFrom(node: QuayctlNode, server: TestServer, selector = ':1.0'): Promise<Output> {
  const before = new Set(filesOf(node));
  const pull = node.start(['torrent', 'pull', `${server.host}/team/app${selector}`, '--json']);
  const peak = await watchMemory(pull);
  const exit = await pull.exited;
  assert.ok(peak < MAX_MEMORY_BYTES, `${peak} bytes of memory`);
  const outside = filesOf(node).filter((path) => !before.has(path) && !OWN.test(path));
  assert.deepEqual(outside, [], 'nothing outside the store is written');
  return { ...exit, stdout: pull.stdout(), stderr: pull.stderr() };
}

function filesOf({ home }: QuayctlNode): string[] {
  const entries = readdirSync(home, { recursive: true, withFileTypes: true });
  return entries.map((entry) => relative(home, join(entry.parentPath, entry.name)));
}

const FAILURES: Readonly<Record<string, readonly [Hostility, exitCode: number, code: string]>> = {
  'a manifest of 100 MB': [
    {
      manifest: (response) => {
        response.writeHead(200, { 'content-type': MANIFEST, 'content-length': 100_000_000 });
        pour(response, Buffer.alloc(1_000_000, ' '), 100);
      },
    },
    1,
    'limit',
  ],
  'a manifest without end': [
    { manifest: (response) => pour(response, Buffer.alloc(100_000, ' ')) },
    1,
    'limit',
  ],
  'a manifest of 10,000 layers': [
    { manifest: manifest(Array.from({ length: 10_000 }, () => descriptor(layer, LAYER))) },
    1,
    'limit',
  ],
  'a manifest nested too deeply': [
    { manifest: Buffer.from(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`) },
    1,
    'limit',
  ],
  'another manifest than the digest asked for': [{ selector: `@${layer.digest}` }, 6, 'verification'],
  'a manifest that is a gzip bomb': [
    {
      manifest: (response) =>
        void response
          .writeHead(200, { 'content-type': MANIFEST, 'content-encoding': 'gzip' })
          .end(EMPTY_GZIP_BOMB),
    },
    1,
    'limit',
  ],
  'a layer of other bytes': [
    { blob: (response, blob) => void response.end(Buffer.alloc(blob?.bytes.length ?? 0, 'evil')) },
    6,
    'verification',
  ],
  'a layer that is a gzip bomb under way': [
    {
      blob: (response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(EMPTY_GZIP_BOMB),
    },
    1,
    'protocol',
  ],
  'a layer without end': [
    { blob: (response) => pour(response.writeHead(200), Buffer.alloc(100_000, 'x')) },
    1,
    'protocol',
  ],
  'headers without end': [
    {
      manifest: (response) => {
        response.socket?.write('HTTP/1.1 200 OK\r\n');
        const more = (): void => {
          while (response.socket?.write(`x-more: ${'x'.repeat(1000)}\r\n`) === true);
        };
        response.socket?.on('drain', more);
        more();
      },
    },
    1,
    'limit',
  ],
  'a manifest that comes byte by byte': [{ manifest: (response) => drip(response, good) }, 1, 'unreachable'],
  'a redirect to a file': [
    { manifest: (response) => void response.writeHead(307, { location: 'file:///etc/passwd' }).end() },
    1,
    'protocol',
  ],
  'redirects without end': [
    {
      manifest: (response) => void response.writeHead(307, { location: '/v2/team/app/manifests/1.0' }).end(),
    },
    1,
    'protocol',
  ],
};

const LYING_TORRENTS: Readonly<Record<string, Answer>> = {
  'whose length is another': torrent({ length: 1_400_000 }),
  'whose length is absurd': torrent({ length: 2 ** 52 }),
  'whose name leads out of the store': torrent({ name: '../../../../work/evil' }),
  'of several files': torrent({ files: [{ length: 1_500_000, path: ['..', 'evil'] }] }),
  'whose hashes are of nothing': torrent({}),
  'without end': (response) => {
    response.writeHead(200, { 'content-type': 'application/x-bittorrent' });
    pour(response, Buffer.alloc(100_000, 'd'));
  },
};

describe('a hostile registry or service', { concurrency: 3 }, () => {
  const scope = suiteScope();
  for (const [what, [hostility, exitCode, code]] of Object.entries(FAILURES)) {
    test(`${what} ends with ${exitCode}, ${code}`, async () => {
      const node = await quayctlNode(scope);
      const output = await pullFrom(node, await startHostile(scope, hostility), hostility.selector);
      assertFails(output, exitCode, code);
      await verifiedBlobs(node.store);
    });
  }
  for (const [what, answer] of Object.entries(LYING_TORRENTS)) {
    test(`a torrent ${what} costs time, and the image is right`, async () => {
      const node = await quayctlNode(scope);
      receiptOf(await pullFrom(node, await startHostile(scope, { torrent: answer })));
      assert.ok((await verifiedBlobs(node.store)).has(layer.digest));
    });
  }
});
