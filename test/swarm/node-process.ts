/**
 * One node in a process of its own: TORRENT FILE [SOURCE_URL] joins, downloads into FILE, and prints its stats as
 * one JSON line when done; then seeds until stdin ends.
 */
import { open, readFile } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Http } from '../../src/http/http.ts';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { openSwarmClient } from '../../src/swarm/open-swarm-client.ts';
import type { RangeSource } from '../../src/swarm/swarm-client.ts';

const [torrent = '', path = '', sourceUrl] = process.argv.slice(2);
const metainfo = decodeTorrent(await readFile(torrent));
const file = await open(path, 'w+');
const http = new Http({ env: process.env, certsDirectory: '/nonexistent' });
const client = openSwarmClient({
  http,
  lowerPort: 0,
  upperPort: 0,
  // Scripted peers speak plaintext.
  ...(process.env['PLAINTEXT_PEERS'] === undefined ? {} : { encryptionMode: 2 as const }),
  onWarning: (message) => process.stderr.write(`${message}\n`),
  onDebug: (message) => process.stderr.write(`${message}\n`),
});

const fromHttp = (url: string): RangeSource =>
  async function* (start, end, signal) {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { range: `bytes=${start}-${end - 1}` };
      request(url, { headers, signal }, resolve).on('error', reject).end();
    });
    yield* response as AsyncIterable<Uint8Array>;
  };

let peakRss = 0;
const watch = setInterval(() => (peakRss = Math.max(peakRss, process.memoryUsage().rss)), 50);
const startedAt = performance.now();
const swarm = await client.join({
  metainfo,
  storage: {
    size: metainfo.geometry.length,
    async read(offset, length) {
      const { buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, offset);
      return buffer;
    },
    async write(offset, bytes) {
      await file.write(bytes, 0, bytes.length, offset);
    },
    has: () => false,
  },
  signal: new AbortController().signal,
  ...(sourceUrl === undefined ? {} : { registry: fromHttp(sourceUrl) }),
});
await swarm.done;
const seconds = (performance.now() - startedAt) / 1000;
const { user, system } = process.cpuUsage();
process.stdout.write(
  JSON.stringify({ ...swarm.stats(), seconds, cpu: (user + system) / 1e6, rss: peakRss, at: Date.now() }) +
    '\n',
);
process.stdin.resume();
process.stdin.once('end', () => {
  clearInterval(watch);
  void client.close().then(() => {
    process.stdout.write(`${JSON.stringify({ uploaded: swarm.stats().uploaded })}\n`);
    return Promise.all([file.close(), http.close()]);
  });
});
