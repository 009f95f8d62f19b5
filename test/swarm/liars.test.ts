import assert from 'node:assert/strict';
import { writeFile, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import type { SwarmStats } from '../../src/swarm/swarm-client.ts';
import { busy, floods, lying, message, refusing, silent, startLiar, uint32 } from '../helpers/liar.ts';
import { startProcess, type RunningProcess, type Scope } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { countedSource, emptyStorage, fullStorage, node, sample, startTracker, type Sample } from './kit.ts';

const MIB = 2 ** 20;
const never = new AbortController().signal;
const NODE = join(import.meta.dirname, 'node-process.ts');
/** Node itself, and buffers. */
const MAX_RSS = 260e6;
/** For all that a pull of a few MiB does besides. */
const MAX_CPU_SECONDS = 8;

interface Ran extends SwarmStats {
  readonly seconds: number;
  readonly cpu: number;
  readonly rss: number;
}

/** A node in a process of its own, without a registry. */
async function startNode(
  scope: Scope,
  { torrent }: Sample,
): Promise<{ child: RunningProcess; path: string }> {
  const directory = await tempDirectory(scope, 'liars');
  const path = join(directory, 'blob');
  await writeFile(join(directory, 'torrent'), torrent);
  const child = startProcess(process.execPath, [NODE, join(directory, 'torrent'), path], {
    env: { ...process.env, PLAINTEXT_PEERS: '1' },
  });
  scope.after(() => child.kill('SIGKILL').then(() => {}));
  return { child, path };
}

async function outcome(child: RunningProcess): Promise<Ran> {
  const [line] = await child.waitFor(/\{.*\}/, 60_000);
  return JSON.parse(line) as Ran;
}

suite('liars in a swarm of processes', { concurrency: 3 }, () => {
  for (const [what, behaviour] of [
    ['answers with wrong blocks', lying],
    ['takes requests and never answers', silent],
    ['never answers, and gives signs of life', busy],
    ['refuses whatever it is asked for', refusing],
    [
      'sends blocks that nobody asked for',
      floods(message(7, Buffer.concat([uint32(0, 0), Buffer.alloc(16384)]))),
    ],
    ['sends messages without end', floods(Buffer.concat(Array(5000).fill(message(2))))],
    [
      'asks for the same block without end',
      floods(Buffer.concat(Array(3000).fill(message(6, uint32(0, 0, 16384))))),
    ],
  ] as const) {
    test(`a peer that ${what} beside a seed: the right bytes, little memory, little processor time`, async (t) => {
      const { url } = await startTracker(t);
      const blob = sample(24 * MIB, [url]);
      await startLiar(t, url, blob.metainfo, behaviour);
      // Slow enough that the liar is asked before everything is here.
      const seed = node(t, { uploadLimiter: createRateLimiter(10_000_000) });
      await seed.join({ metainfo: blob.metainfo, storage: fullStorage(blob.content), signal: never });
      const { child, path } = await startNode(t, blob);
      const ran = await outcome(child);
      assert.ok((await readFile(path)).equals(blob.content));
      assert.equal(ran.fromPeers, blob.content.length);
      t.diagnostic(
        `${ran.seconds.toFixed(1)} s, ${ran.cpu.toFixed(1)} s of CPU, ${ran.rss} bytes, wasted ${ran.wasted}`,
      );
      assert.ok(ran.rss < MAX_RSS, `${ran.rss} bytes in memory`);
      assert.ok(ran.cpu < MAX_CPU_SECONDS, `${ran.cpu} s of processor time`);
      if (behaviour === lying) assert.match(child.stderr(), /is banned: a piece that does not verify/);
    });
  }
});

test('a liar among three honest seeds is the only one who may be banned, and each bad piece costs itself alone', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(16 * MIB, [url]);
  const liar = await startLiar(t, url, metainfo, lying);
  for (let seeds = 0; seeds < 3; seeds++)
    await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  const log: string[] = [];
  const storage = emptyStorage(content.length);
  const client = node(t, { encryptionMode: 2, onDebug: (line) => log.push(line) });
  const swarm = await client.join({ metainfo, storage, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  const banned = log.filter((line) => line.includes('is banned'));
  const bad = log.filter((line) => line.includes('did not verify')).length;
  t.diagnostic(`${bad} bad pieces, wasted ${swarm.stats().wasted} bytes, banned ${banned.length} times`);
  assert.ok(banned.every((line) => line.includes(`127.0.0.1:${liar.port}`)));
  const { wasted } = swarm.stats();
  assert.ok(wasted <= bad * metainfo.geometry.pieceLength + MIB, `${wasted} bytes for ${bad} bad pieces`);
});

test('a handshake for another torrent is no peer, and the pull goes on without it', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(2 * MIB, [url]);
  const liar = await startLiar(t, url, metainfo, silent, { infoHash: 'ab'.repeat(20) });
  await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  const log: string[] = [];
  const storage = emptyStorage(content.length);
  const client = node(t, { encryptionMode: 2, onDebug: (line) => log.push(line) });
  const swarm = await client.join({ metainfo, storage, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  assert.ok(log.every((line) => !line.includes(`:${liar.port} joins`)));
});

test('a thousand connections from one address, each a peer that says nothing, leave room for those who are dialled', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(4 * MIB, [url]);
  const client = node(t, { encryptionMode: 2 });
  const storage = emptyStorage(content.length);
  const swarm = await client.join({ metainfo, storage, signal: never });
  const sockets = new Set<Socket>();
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let round = 0; round < 20; round++) {
    for (let count = 0; count < 50; count++) {
      const socket = connect(client.port, '127.0.0.1');
      sockets.add(socket);
      const head = Buffer.from('\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04', 'latin1');
      socket.on('error', () => {}).resume();
      socket.write(Buffer.concat([head, Buffer.from(metainfo.infoHash, 'hex'), randomBytes(20)]));
    }
    await sleep(30);
  }
  assert.ok(swarm.stats().peers <= 120, `${swarm.stats().peers} peers`);
  await node(t, { encryptionMode: 2 }).join({ metainfo, storage: fullStorage(content), signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
});

test('a registry that accepts and never answers from a tenth of a pull on holds it up for 10 s at most', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(14 * MIB, [url]);
  const tenth = Promise.withResolvers<void>();
  let given = 0;
  const { source: mute } = countedSource(content, async (bytes, signal) => {
    given += bytes;
    if (given < content.length / 10) return;
    tenth.resolve();
    await new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  });
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, registry: mute, signal: never });
  await tenth.promise;
  await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  let before = 0;
  let movedAt = performance.now();
  let longest = 0;
  const watch = setInterval(() => {
    const { fromPeers } = swarm.stats();
    if (fromPeers > before) movedAt = performance.now();
    before = fromPeers;
    longest = Math.max(longest, performance.now() - movedAt);
  }, 20);
  t.after(() => clearInterval(watch));
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  t.diagnostic(`longest stall ${longest.toFixed(0)} ms`);
  assert.ok(longest < 10_000, `${longest} ms`);
});
