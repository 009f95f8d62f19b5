import assert from 'node:assert/strict';
import { test } from 'node:test';
import { debianRootTar } from '../helpers/debian.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { randomLayer } from '../helpers/images.ts';
import type { RunningProcess } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { openStage, parseReceipt, verifiedBlobs } from '../helpers/stage.ts';

const NODES = 4;
const PIPE_BYTES_PER_SECOND = 15e6;
const IMAGE = 'team/debian:1.0';

test(
  'four nodes pull a Debian at once: most bytes come from peers, and Docker runs it',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry', 'debootstrap') },
  async (t) => {
    const stage = await openStage(t);
    const greeting = { name: 'etc/greeting', content: 'hello from the swarm\n' };
    const image = await stage.layout.addImage({
      layers: [
        { tarFile: await debianRootTar() },
        randomLayer(12_000_000, 'application'),
        randomLayer(300_000, 'settings'),
        { entries: [greeting] },
      ],
      run: { Cmd: ['/bin/cat', '/etc/greeting'], Env: ['PATH=/usr/bin:/bin'] },
    });
    await stage.push(image.manifest, IMAGE);
    stage.pipe.link.bytesPerSecond = PIPE_BYTES_PER_SECOND;

    const engine = await startDockerd(t);
    const name = stage.name(IMAGE);
    const nodes = await Promise.all(Array.from({ length: NODES }, () => quayctlNode(t)));
    const pulls = nodes.map((node, at) =>
      node.start(
        [
          ...(at === 0 ? ['docker'] : []),
          ...['torrent', 'pull', name, '--json', '--seed-after', '5m'],
          ...['--torrent-service', stage.service.url],
        ],
        at === 0 ? { env: { DOCKER_HOST: engine.dockerHost } } : {},
      ),
    );
    const receipts = await Promise.all(pulls.map(receiptLine));
    const ends = await Promise.all(pulls.map((pull) => pull.kill('SIGINT')));
    assert.deepEqual(
      ends.map(({ code }) => code),
      ends.map(() => 0),
      'a signal during --seed-after is a good end',
    );

    const size = receipts[0]?.total.size ?? 0;
    const sum = (pick: (receipt: (typeof receipts)[number]) => number): number =>
      receipts.reduce((total, receipt) => total + pick(receipt), 0);
    const fromPeers = sum(({ total }) => total.fromPeers);
    const fromRegistry = sum(({ total }) => total.fromRegistry);
    for (const [at, { total }] of receipts.entries()) {
      t.diagnostic(
        `node ${at + 1}: ${total.fromPeers} from peers, ${total.fromRegistry} from registry, ` +
          `${total.wasted} wasted, ${total.seconds} s`,
      );
    }
    t.diagnostic(`through the pipe: ${(stage.pipe.traffic.toClient / size).toFixed(2)} times the image`);
    assert.equal(
      sum(({ total }) => total.size),
      NODES * size,
    );
    assert.ok(fromPeers > (NODES * size) / 2, `${fromPeers} of ${NODES * size} bytes came from peers`);
    // The service's copy stands in for the registry, so both count.
    assert.ok(
      fromRegistry < 2 * size,
      `${fromRegistry} bytes of registry and service, of an image of ${size}`,
    );
    assert.ok(
      stage.pipe.traffic.toClient < 2 * size,
      `${stage.pipe.traffic.toClient} bytes crossed the pipe`,
    );
    for (const node of nodes) {
      const blobs = await verifiedBlobs(node.store);
      for (const { digest } of image.layers) assert.ok(blobs.has(digest), digest);
    }

    const inspected = await engine.api('GET', `/images/${name}/json`);
    assert.equal((JSON.parse(inspected.text) as { Id: string }).Id, image.config.digest);
    const ran = await engine.docker('run', '--rm', '--network', 'none', name);
    assert.deepEqual([ran.stdout, ran.code], [greeting.content, 0], ran.stderr);
  },
);

async function receiptLine(pull: RunningProcess): Promise<ReturnType<typeof parseReceipt>> {
  const [line] = await pull.waitFor(/^\{.*\}$/m, 120_000);
  return parseReceipt(line);
}
