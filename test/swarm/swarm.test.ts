import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { QuayctlError } from '../../src/base/errors.ts';
import { createRateLimiter } from '../../src/base/rate-limiter.ts';
import type { RangeSource, Swarm, SwarmStats } from '../../src/swarm/swarm-client.ts';
import { countedSource, emptyStorage, fullStorage, node, sample, startTracker, type Sample } from './kit.ts';
import { lying, startLiar, silent } from '../helpers/liar.ts';

const MIB = 2 ** 20;
const never = new AbortController().signal;

/** The bytes of the receipt add up. */
function assertSums({ fromPeers, fromRegistry, fromStorage }: SwarmStats, length: number): void {
  assert.equal(fromPeers + fromRegistry + fromStorage, length);
}

const failing = (error: Error, after = 0): RangeSource =>
  async function* (start, end) {
    if (after > 0) yield new Uint8Array(Math.min(after, end - start));
    throw error;
  };

test('a node alone takes everything from the registry, in few requests', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(32 * MIB + 12345, [url]);
  const { source, requests } = countedSource(content);
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, registry: source, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  const stats = swarm.stats();
  assertSums(stats, content.length);
  assert.equal(stats.fromRegistry, content.length);
  assert.equal(stats.wasted, 0);
  assert.ok(requests.length <= 5, `${requests.length} requests`);
});

test('a blob of one byte, and a tracker that is not there', async (t) => {
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  const { port } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  const { content, metainfo } = sample(1, [`http://127.0.0.1:${port}/announce?jwt=secret`]);
  const storage = emptyStorage(1);
  const { source } = countedSource(content);
  const warnings: string[] = [];
  const client = node(t, { onWarning: (message) => warnings.push(message) });
  const swarm = await client.join({ metainfo, storage, registry: source, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  const place = `127.0.0.1:${port}`;
  assert.deepEqual(warnings, [
    `tracker http://${place}/announce: ${place} cannot be reached: connection refused`,
  ]);
});

test('a node without a registry takes everything from a seed, which reads only what it gives', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(8 * MIB + 1, [url]);
  const committed = fullStorage(content);
  const seed = await node(t).join({ metainfo, storage: committed, signal: never });
  await seed.done;
  assert.equal(committed.reads.length, 0, 'a committed blob is not hashed again');
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  assert.equal(swarm.stats().fromPeers, content.length);
  assert.equal(seed.stats().uploaded, content.length);
  assert.ok(committed.reads.every(({ length }) => length <= 1024 * 1024));
});

test('four nodes ask the registry for each byte about once', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(16 * MIB, [url]);
  const limiter = createRateLimiter(8_000_000);
  const counted = countedSource(content, (bytes, signal) => limiter.take(bytes, signal));
  const swarms = await Promise.all(
    Array.from({ length: 4 }, async (): Promise<Swarm> => {
      const storage = emptyStorage(content.length);
      const swarm = await node(t).join({ metainfo, storage, registry: counted.source, signal: never });
      await swarm.done;
      assert.ok(storage.bytes.equals(content));
      return swarm;
    }),
  );
  for (const swarm of swarms) assertSums(swarm.stats(), content.length);
  const ratio = counted.given / content.length;
  t.diagnostic(`from the registry: ${ratio.toFixed(3)} times the blob`);
  assert.ok(ratio < 1.35, `${ratio}`);
});

test('layers that are begun after the tracker has died find the peers of the layers before', async (t) => {
  const { url, server } = await startTracker(t);
  const [before, after, foreign] = [sample(2 ** 21, [url]), sample(2 ** 23, [url]), sample(2 ** 21, [url])];
  const nodes = [node(t), node(t), node(t)].map((client) => ({ client, group: {} }));
  const fetchAll = async (layer: Sample, grouped = true): Promise<number> => {
    const registry = countedSource(layer.content, async (_bytes, signal) => sleep(5, undefined, { signal }));
    await Promise.all(
      nodes.map(async ({ client, group }) => {
        const storage = emptyStorage(layer.content.length);
        const { metainfo } = layer;
        const joined = { metainfo, storage, registry: registry.source, signal: never };
        const swarm = await client.join(grouped ? { ...joined, group } : joined);
        await swarm.done;
        assert.ok(storage.bytes.equals(layer.content));
      }),
    );
    return registry.given / layer.content.length;
  };
  await fetchAll(before);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  const [related, unrelated] = [await fetchAll(after), await fetchAll(foreign, false)];
  t.diagnostic(`without a tracker, from the registry: ${related.toFixed(3)} times the blob`);
  assert.ok(related <= 1.1, `${related} times the blob`);
  assert.ok(unrelated > 2, 'peers of other images are not asked');
});

test('what is in the storage is verified, not believed, and not fetched again', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(4 * MIB, [url]);
  const { pieceLength } = metainfo.geometry;
  const storage = emptyStorage(content.length);
  for (const index of [0, 1, 5]) {
    const start = index * pieceLength;
    await storage.write?.(start, content.subarray(start, start + pieceLength));
  }
  storage.bytes[5 * pieceLength] = (content[5 * pieceLength] ?? 0) ^ 1;
  const counted = countedSource(content);
  const swarm = await node(t).join({ metainfo, storage, registry: counted.source, signal: never });
  assert.deepEqual(
    storage.reads.slice(0, 3).map(({ offset }) => offset / pieceLength),
    [0, 1, 5],
    'pieces that are not there are not read',
  );
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  const stats = swarm.stats();
  assertSums(stats, content.length);
  assert.equal(stats.fromStorage, 2 * pieceLength);
  assert.equal(counted.given, content.length - 2 * pieceLength);
});

test('a lying peer neither corrupts nor hangs, and is thrown out', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(4 * MIB, [url]);
  const liar = await startLiar(t, url, metainfo, lying);
  const seed = await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  const storage = emptyStorage(content.length);
  const swarm = await node(t, { encryptionMode: 2 }).join({ metainfo, storage, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  assertSums(swarm.stats(), content.length);
  assert.ok(seed.stats().uploaded >= content.length - liar.connections());
});

test('a peer that has everything and gives nothing does not hang the pull: the registry takes over', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(4 * MIB, [url]);
  await startLiar(t, url, metainfo, silent);
  const storage = emptyStorage(content.length);
  const startedAt = performance.now();
  const { source } = countedSource(content);
  const swarm = await node(t, { encryptionMode: 2 }).join({
    metainfo,
    storage,
    registry: source,
    signal: never,
  });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  const seconds = (performance.now() - startedAt) / 1000;
  assert.ok(seconds < 12, `${seconds}`);
});

test('a registry that dies midway is withdrawn, and peers alone go on', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(8 * MIB, [url]);
  const warnings: string[] = [];
  const dead = failing(new QuayctlError('not-found', 'gone'), 700_000);
  const storage = emptyStorage(content.length);
  const client = node(t, { onWarning: (message) => warnings.push(message) });
  const swarm = await client.join({ metainfo, storage, registry: dead, signal: never });
  await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  assertSums(swarm.stats(), content.length);
  assert.match(warnings.join('\n'), /the registry is no longer asked: gone/);
});

test('a registry that stumbles is asked again', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(4 * MIB, [url]);
  const { source } = countedSource(content);
  let calls = 0;
  const stumbling: RangeSource = (start, end, signal) =>
    ++calls % 2 === 1
      ? failing(new QuayctlError('unreachable', 'reset'), 10)(start, end, signal)
      : source(start, Math.min(end, start + MIB), signal);
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, registry: stumbling, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  assertSums(swarm.stats(), content.length);
});

test('when no path is left the pull ends with what the registry said', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(2 * MIB, [url]);
  const registry = failing(new QuayctlError('unauthorized', 'no right to it'));
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, registry, signal: never });
  await assert.rejects(swarm.done, { code: 'unauthorized' });
});

test('a registry with other bytes than the torrent describes ends with `protocol`', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(2 * MIB, [url]);
  const { source } = countedSource(sample(2 * MIB, [url]).content);
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, registry: source, signal: never });
  await assert.rejects(swarm.done, { code: 'protocol', message: /other bytes than the torrent/ });
  assert.equal(swarm.stats().fromRegistry, 0);
});

test('without a registry, a piece that nobody has is waited for so long, and then named', async (t) => {
  const { url } = await startTracker(t);
  const { metainfo, content } = sample(2 * MIB, [url]);
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, waitForPeersMs: 300, signal: never });
  await assert.rejects(swarm.done, { code: 'no-peers', message: /no peer has 4 of its 4 pieces/ });
});

test('an error of the storage ends the download with it', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(2 * MIB, [url]);
  const { source } = countedSource(content);
  const storage = {
    ...emptyStorage(content.length),
    write: () => Promise.reject(new QuayctlError('disk-full', 'full')),
  };
  const swarm = await node(t).join({ metainfo, storage, registry: source, signal: never });
  await assert.rejects(swarm.done, { code: 'disk-full' });
});

test('the signal ends a download, and what has arrived stays', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(8 * MIB, [url]);
  const limiter = createRateLimiter(4_000_000);
  const { source } = countedSource(content, (bytes, signal) => limiter.take(bytes, signal));
  const abort = new AbortController();
  const storage = emptyStorage(content.length);
  const client = node(t);
  const swarm = await client.join({ metainfo, storage, registry: source, signal: abort.signal });
  while (swarm.stats().fromRegistry === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  abort.abort(new QuayctlError('interrupted', 'SIGINT'));
  await assert.rejects(swarm.done, { code: 'interrupted', message: 'SIGINT' });
  await swarm.leave();
  const again = await client.join({ metainfo, storage, registry: source, signal: never });
  assert.ok(again.stats().fromStorage > 0);
  await again.leave();
});

test('the download limit binds the registry and the peers together', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(4 * MIB, [url]);
  const withSeed = sample(4 * MIB, [url]);
  await node(t).join({ metainfo: withSeed.metainfo, storage: fullStorage(withSeed.content), signal: never });
  const client = node(t, { downloadLimiter: createRateLimiter(4_000_000) });
  const startedAt = performance.now();
  const { source } = countedSource(content);
  const swarms = [
    await client.join({ metainfo, storage: emptyStorage(content.length), registry: source, signal: never }),
    await client.join({
      metainfo: withSeed.metainfo,
      storage: emptyStorage(content.length),
      signal: never,
    }),
  ];
  await Promise.all(swarms.map((swarm) => swarm.done));
  const seconds = (performance.now() - startedAt) / 1000;
  assert.ok(seconds > 1.7, `8 MiB at 4 MB/s in ${seconds} s`);
});

test('the upload limit binds peers', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(4 * MIB, [url]);
  const seed = node(t, { uploadLimiter: createRateLimiter(2_000_000) });
  await seed.join({ metainfo, storage: fullStorage(content), signal: never });
  const startedAt = performance.now();
  const swarm = await node(t).join({ metainfo, storage: emptyStorage(content.length), signal: never });
  await swarm.done;
  const seconds = (performance.now() - startedAt) / 1000;
  assert.ok(seconds > 1.6, `4 MiB at 2 MB/s in ${seconds} s`);
});

for (const [one, other] of [
  [0, 0],
  [0, 1],
  [2, 1],
] as const) {
  test(`encryption mode ${one} at the node that comes last meets mode ${other}`, async (t) => {
    const { url } = await startTracker(t);
    const { content, metainfo } = sample(MIB, [url]);
    const seed = node(t, { encryptionMode: other });
    await seed.join({ metainfo, storage: fullStorage(content), signal: never });
    const storage = emptyStorage(content.length);
    const swarm = await node(t, { encryptionMode: one }).join({ metainfo, storage, signal: never });
    await swarm.done;
    assert.ok(storage.bytes.equals(content));
  });
}

for (const [one, other] of [
  [2, 0],
  [0, 2],
  // Plaintext is never dialled but with mode 2.
  [1, 2],
] as const) {
  test(`encryption mode ${one} at the node that comes last gets nothing from mode ${other}`, async (t) => {
    const { url } = await startTracker(t);
    const { content, metainfo } = sample(MIB, [url]);
    await node(t, { encryptionMode: other }).join({
      metainfo,
      storage: fullStorage(content),
      signal: never,
    });
    const storage = emptyStorage(content.length);
    const waits = { waitForPeersMs: 2000 };
    const swarm = await node(t, { encryptionMode: one }).join({
      metainfo,
      storage,
      signal: never,
      ...waits,
    });
    await assert.rejects(swarm.done, { code: 'no-peers' });
  });
}

test('the first free port of the range is taken; a full range is a warning, or an error where it was asked for', async (t) => {
  const { url } = await startTracker(t);
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, resolve));
  t.after(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const range = { lowerPort: port, upperPort: port };
  const { metainfo, content } = sample(100, [url]);
  const join = { metainfo, storage: fullStorage(content), signal: never };

  const warnings: string[] = [];
  const lenient = node(t, { ...range, onWarning: (message) => warnings.push(message) });
  await lenient.join(join);
  assert.ok(lenient.port > 0 && lenient.port !== port);
  assert.match(warnings.join(), new RegExp(`no port from ${port} to ${port} is free`));

  const strict = node(t, { ...range, portRangeStrict: true });
  await assert.rejects(strict.join(join), { code: 'port' });

  const next = node(t, { lowerPort: port, upperPort: port + 20, portRangeStrict: true });
  await next.join(join);
  assert.ok(next.port > port && next.port <= port + 20);
});

test('nothing is announced outside the tracker, and nothing listens but the peer port', async (t) => {
  const { url } = await startTracker(t);
  const { metainfo, content } = sample(100, [url]);
  const before = process.getActiveResourcesInfo();
  await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  const count = (list: string[], kind: string): number => list.filter((name) => name === kind).length;
  const after = process.getActiveResourcesInfo();
  assert.equal(count(after, 'UDPWrap') - count(before, 'UDPWrap'), 0, 'DHT, LSD, uTP and NAT-PMP are UDP');
  assert.equal(count(after, 'TCPServerWrap') - count(before, 'TCPServerWrap'), 1);
});

test('a torrent of another length than the blob is refused', async (t) => {
  const { metainfo } = sample(100, []);
  const storage = emptyStorage(101);
  await assert.rejects(node(t).join({ metainfo, storage, signal: never }), { code: 'protocol' });
});

test('a wanted range comes before the rest, and each verified piece is told once it can be read', async (t) => {
  const { url } = await startTracker(t);
  const { content, metainfo } = sample(32 * MIB, [url]);
  const seed = node(t);
  await seed.join({ metainfo, storage: fullStorage(content), signal: never });
  const storage = emptyStorage(content.length);
  const told: number[] = [];
  const limiter = createRateLimiter(8 * MIB);
  const client = node(t, { downloadLimiter: limiter });
  const swarm = await client.join({
    metainfo,
    storage,
    signal: never,
    onVerified: (start, end) => {
      assert.ok(storage.bytes.subarray(start, end).equals(content.subarray(start, end)));
      told.push(start);
    },
  });
  const { pieceLength, pieceCount } = metainfo.geometry;
  swarm.want(content.length - 1, content.length);
  await swarm.done;
  assert.equal(told.length, pieceCount);
  const place = told.indexOf((pieceCount - 1) * pieceLength);
  assert.ok(place < pieceCount / 4, `the last piece came as number ${place} of ${pieceCount}`);
});
