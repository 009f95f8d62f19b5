import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { freePort } from '../helpers/balancer.ts';
import { startHttpFaultProxy, type HttpFaultProxy } from '../helpers/fault-proxy.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import type { RunningProcess } from '../helpers/processes.ts';
import { bytesInStore } from '../helpers/progress.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { parseReceipt, type ReceiptJson } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startTokenServer } from '../helpers/token-server.ts';

const IMAGE = 'team/app:1.0';

async function receiptLine(pull: RunningProcess): Promise<ReceiptJson> {
  const [line] = await pull.waitFor(/^\{.*\}$/m, 120_000);
  return parseReceipt(line);
}

interface Private {
  readonly registry: TestRegistry;
  /** The registry as nodes see it. */
  readonly pipe: HttpFaultProxy;
  /** The registry as the service sees it. */
  readonly upstream: HttpFaultProxy;
  /** `quayctl serve` with these flags besides; its URL, and that of its metrics. */
  serve(...flags: string[]): Promise<{ url: string; metrics: string; process: RunningProcess }>;
  /** A node that is logged in. */
  node(): Promise<QuayctlNode>;
  readonly digest: string;
}

/** A registry with a token server, and nodes of alice, who may pull. */
async function privateRegistry(t: TestContext, layerBytes: number): Promise<Private> {
  const tokens = await startTokenServer(t, { users: { alice: 'right-password' } });
  const registry = await startRegistry(t, { auth: tokens.auth });
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(layerBytes, 'a')] }, IMAGE);
  const authorization = tokens.authorization('repository:team/app:pull,push');
  await pushImage(layout, image.manifest, {
    url: registry.url,
    repository: 'team/app',
    tag: '1.0',
    authorization,
  });
  const pipe = await startHttpFaultProxy(t, registry.url);
  const upstream = await startHttpFaultProxy(t, registry.url);
  const server = await quayctlNode(t);
  return {
    registry,
    pipe,
    upstream,
    digest: image.layers[0]?.digest ?? '',
    serve: async (...flags) => {
      const admin = ['--admin-listen', '127.0.0.1:0'];
      const command = ['serve', '--upstream', upstream.url, '--alias', pipe.host, ...admin, ...flags];
      const process_ = server.start(
        flags.includes('--listen') ? command : [...command, '--listen', '127.0.0.1:0'],
      );
      const [url] = await process_.waitFor(/^http:\S+$/m);
      const [, admins = ''] = await process_.waitFor(/admin=(http:\S+)/);
      return { url, metrics: `${admins}/metrics`, process: process_ };
    },
    node: async () => {
      const node = await quayctlNode(t);
      const auth = Buffer.from('alice:right-password').toString('base64');
      const folder = node.env['DOCKER_CONFIG'] ?? assert.fail('no DOCKER_CONFIG');
      await mkdir(folder);
      await writeFile(join(folder, 'config.json'), JSON.stringify({ auths: { [pipe.host]: { auth } } }));
      return node;
    },
  };
}

test(
  'eight nodes ask together for a private image that the service has never seen: it is read once for them',
  { skip: skipWithout('docker-registry', 'openssl') },
  async (t) => {
    const site = await privateRegistry(t, 16_000_000);
    // Hashing takes longer than the nodes would wait for.
    site.upstream.link.bytesPerSecond = 5e6;
    site.pipe.link.bytesPerSecond = 5e6;
    const { url } = await site.serve();
    const nodes = await Promise.all(Array.from({ length: 8 }, () => site.node()));
    const pulls = nodes.map((node) =>
      node.start([
        'torrent',
        'pull',
        `${site.pipe.host}/${IMAGE}`,
        '--json',
        '--torrent-service',
        url,
        '--seed-after',
        '5m',
      ]),
    );
    const receipts = await Promise.all(pulls.map(receiptLine));
    const size = receipts[0]?.total.size ?? 0;
    const sum = (pick: (receipt: ReceiptJson) => number): number =>
      receipts.reduce((all, receipt) => all + pick(receipt), 0);
    const through = site.pipe.traffic.toClient / size;
    t.diagnostic(
      `through the pipe: ${through.toFixed(2)} times the image; slowest ${Math.max(...receipts.map(({ total }) => total.seconds))} s`,
    );
    // The nodes follow the one reading of the service, so that their own pipe carries next to nothing.
    assert.ok(through < 0.5, `${through} times the image crossed the pipe`);
    assert.equal(
      sum(({ total }) => total.fromPeers + total.fromRegistry),
      8 * size,
    );
    const reads = site.upstream.requests.filter(
      (line) => line.startsWith('GET') && line.includes(site.digest) && / 200\b/.test(line),
    );
    assert.equal(reads.length, 1, site.upstream.requests.join('\n'));
    await Promise.all(pulls.map((pull) => pull.kill('SIGKILL')));
  },
);

test(
  'the service is killed and started again in the middle of a swarm: the download goes on, and others join',
  { skip: skipWithout('docker-registry', 'openssl') },
  async (t) => {
    const site = await privateRegistry(t, 12_000_000);
    const listen = ['--listen', `127.0.0.1:${await freePort()}`];
    const first = await site.serve(...listen);
    const image = `${site.pipe.host}/${IMAGE}`;
    const service = ['--torrent-service', first.url];
    const seed = (await site.node()).start(['torrent', 'seed', image, ...service, '--upload-rate', '2000']);
    await seed.waitFor(/[Ss]eeding/, 60_000);

    const node = await site.node();
    const leech = node.start([
      ...['torrent', 'pull', image, ...service, '--skip-web-seed', '--seed-after', '5m', '--json'],
    ]);
    // Both blobs, both nodes.
    while (!/^quayctl_peers 4$/m.test(await (await fetch(first.metrics)).text())) await sleep(50);
    while ((await bytesInStore(node.store)) < 2_000_000) await sleep(20);
    await first.process.kill('SIGKILL');
    assert.equal(leech.stdout(), '', 'it is still in the middle');
    await site.serve(...listen);
    const { total } = await receiptLine(leech);
    assert.equal(total.fromPeers + total.fromRegistry, total.size);

    const late = (await site.node()).start([
      ...['torrent', 'pull', image, ...service, '--skip-web-seed', '--wait-for-peers', '60s', '--json'],
    ]);
    const receipt = await receiptLine(late);
    assert.ok(receipt.total.fromPeers > 11_000_000);
  },
);

test(
  'downloads and seeds that last longer than their tokens are never refused by the tracker',
  { skip: skipWithout('docker-registry', 'openssl') },
  async (t) => {
    const site = await privateRegistry(t, 6_000_000);
    const { url, metrics: metricsUrl } = await site.serve('--token-ttl', '2s');
    const image = `${site.pipe.host}/${IMAGE}`;
    const service = ['--torrent-service', url];
    const seed = (await site.node()).start(['torrent', 'seed', image, ...service, '--upload-rate', '1000']);
    await seed.waitFor(/[Ss]eeding/, 60_000);
    const pull = (await site.node()).start([
      'torrent',
      'pull',
      image,
      ...service,
      '--skip-web-seed',
      '--json',
    ]);
    const { total } = await receiptLine(pull);
    await pull.exited;
    assert.ok(total.seconds > 4, `the token was dead long before the end, after ${total.seconds} s`);

    // Two blobs, started by both, completed and stopped by one; then the seed's second round, half a minute later.
    const announces = async (): Promise<number> => {
      const metrics = await (await fetch(metricsUrl)).text();
      assert.doesNotMatch(metrics, /^quayctl_announces_total\{outcome="refused"\}/m);
      return Number(/^quayctl_announces_total\{outcome="accepted"\} (\d+)$/m.exec(metrics)?.[1]);
    };
    const before = await announces();
    assert.ok(before >= 8, `${before} announces`);
    while ((await announces()) < before + 2) await sleep(200);
    assert.doesNotMatch(seed.stderr(), /tracker/);
  },
);
