import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import type { SwarmStats } from '../../src/swarm/swarm-client.ts';
import { startProcess, type Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { sample, startTracker } from './kit.ts';

const CHUNK = 2 ** 14;
const NODES = 3;
const RATE = 8_000_000;

/** A registry of one blob whose answers share a rate; counts what it gives. */
async function serveRanges(scope: Scope, content: Buffer): Promise<{ url: string; given: () => number }> {
  const limiter = createRateLimiter(RATE);
  let given = 0;
  const server = createServer((request, response) => {
    void (async () => {
      const [start = 0, last = 0] = (request.headers.range ?? '').match(/\d+/g)?.map(Number) ?? [];
      response.writeHead(206, { 'content-length': last + 1 - start });
      for (let at = start; at <= last && !response.destroyed; at += CHUNK) {
        const chunk = content.subarray(at, Math.min(at + CHUNK, last + 1));
        await limiter.take(chunk.length);
        given += chunk.length;
        response.write(chunk);
      }
      response.end();
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, given: () => given };
}

test('three processes share a blob, stay small, and end when they are closed', async (t) => {
  const { url } = await startTracker(t);
  const { content, torrent } = sample(24 * 2 ** 20, [url]);
  const directory = await tempDirectory(t, 'swarm');
  await writeFile(join(directory, 'torrent'), torrent);
  const registry = await serveRanges(t, content);
  const nodes = Array.from({ length: NODES }, (_, index) => {
    const path = join(directory, `blob-${index}`);
    const program = join(import.meta.dirname, 'node-process.ts');
    const child = startProcess(process.execPath, [program, join(directory, 'torrent'), path, registry.url]);
    t.after(() => child.kill('SIGKILL').then(() => {}));
    return { child, path };
  });
  for (const { child, path } of nodes) {
    const [line] = await child.waitFor(/\{.*\}/);
    const stats = JSON.parse(line) as SwarmStats & { rss: number };
    assert.equal(stats.fromPeers + stats.fromRegistry, content.length);
    assert.ok(stats.rss < 200e6, `${stats.rss} bytes in memory`);
    assert.ok((await readFile(path)).equals(content));
    // Its stdin is closed, so it leaves as soon as it is done; nothing may keep the process alive.
    assert.equal((await child.exited).code, 0);
    assert.doesNotMatch(child.stderr(), /MaxListeners/);
  }
  const ratio = registry.given() / content.length;
  t.diagnostic(`from the registry: ${ratio.toFixed(3)} times the blob`);
  // A loaded machine starts the processes far apart: the first one then fetches more alone.
  assert.ok(ratio < 2, `${ratio}`);
});
