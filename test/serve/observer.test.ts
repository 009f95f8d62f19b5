import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseInfoHash } from '../../src/metainfo/info-hash.ts';
import { Observer, type ObservedAnnounce } from '../../src/serve/observe/observer.ts';
import { digestOf } from '../../src/image/digest.ts';

const ALL = { limit: 1000, offset: 0, query: '' };

function hash(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

function announce(swarm: number, node: number, fields: Partial<ObservedAnnounce> = {}): ObservedAnnounce {
  return {
    infoHash: parseInfoHash(hash(`swarm ${swarm}`)),
    peerId: hash(`peer ${node}`),
    source: `10.${node >> 16}.${(node >> 8) & 255}.${node & 255}`,
    port: 6881,
    left: node % 3 === 0 ? 0 : 500_000,
    uploaded: node,
    isStopped: false,
    expiresMs: 60_000,
    ...fields,
  };
}

function named(observer: Observer, swarm: number): void {
  observer.torrent(parseInfoHash(hash(`swarm ${swarm}`)), {
    repository: `team/app${swarm}`,
    digest: digestOf(Buffer.from(String(swarm))),
    size: 1_000_000,
    kind: 'layer',
  });
}

test('5,000 nodes in 500 swarms, and crowds beyond every bound, take less than 100 MB', () => {
  setFlagsFromString('--expose_gc');
  const collect = runInNewContext('gc') as () => void;
  const heap = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = heap();
  const observer = new Observer(() => 1_000_000);
  for (let swarm = 0; swarm < 500; swarm++) named(observer, swarm);
  for (let node = 0; node < 5000; node++) {
    observer.announced(announce(node % 500, node));
    observer.announced(announce((node + 1) % 500, node));
  }
  assert.deepEqual(observer.counts(), { swarms: 500, nodes: 5000, seeds: 3334, leeches: 6666, rate: 0 });
  assert.equal(observer.swarms(ALL).total, 500);
  assert.equal(observer.nodes({ ...ALL, limit: 100 }).rows.length, 100);
  assert.equal(observer.isPartial, false);
  const grown = heap() - before;
  assert.ok(grown < 20e6, `${grown} bytes`);

  for (let swarm = 0; swarm < 8000; swarm++) named(observer, swarm);
  for (let at = 0; at < 120_000; at++) observer.announced(announce(3001 + (at % 4000), at % 30_000));
  assert.equal(observer.isPartial, true);
  assert.equal(observer.swarmCount, 5000);
  assert.ok(observer.nodes(ALL).total <= 20_000);
  const full = heap() - before;
  assert.ok(full < 100e6, `${full} bytes`);
  observer.close();
});

test('who does not announce any more is gone, a stopped one at once, and pictures go with their onlookers', () => {
  let now = 1_000_000;
  const observer = new Observer(() => now);
  named(observer, 1);
  observer.announced(announce(1, 3));
  observer.announced(announce(1, 4));
  observer.announced(announce(1, 4, { isStopped: true, uploaded: 1000 }));
  const nodes = (): (readonly [string, boolean, number])[] =>
    observer.nodes(ALL).rows.map(({ address, isHere, given }) => [address, isHere, given] as const);
  assert.deepEqual(nodes(), [
    ['10.0.0.3', true, 3],
    ['10.0.0.4', false, 1000],
  ]);
  now += 61_000;
  observer.sweep();
  assert.deepEqual(
    nodes().map(([, isHere]) => isHere),
    [false, false],
  );
  now += 3600_000;
  observer.sweep();
  assert.deepEqual(nodes(), []);
  assert.equal(observer.swarmCount, 1, 'the swarm is shown for a day');
  now += 24 * 3600_000;
  observer.sweep();
  assert.equal(observer.swarmCount, 0);
  observer.close();
});

test('with an external tracker nodes are known by their requests, until they report', () => {
  const observer = new Observer(() => 1_000_000);
  const infoHash = parseInfoHash(hash('swarm 1'));
  const name = { repository: 'a', digest: digestOf(Buffer.from('1')), size: 1000, kind: 'layer' } as const;
  observer.torrent(infoHash, name, '10.0.0.9');
  assert.deepEqual(observer.counts(), { swarms: 1, nodes: 1, seeds: 0, leeches: 1, rate: 0 });
  const report = { version: '1', peer: hash('p'), port: 7000, size: 1000, have: 10, fromPeers: 10 };
  observer.reported(infoHash, '10.0.0.9', {
    ...report,
    ...{ fromRegistry: 0, told: { fromPeers: 0, fromRegistry: 0 }, given: 0, seconds: 1, state: 'pulling' },
  });
  assert.deepEqual(
    observer.nodes(ALL).rows.map(({ address, port }) => [address, port]),
    [['10.0.0.9', 7000]],
  );
  observer.close();
});
