import assert from 'node:assert/strict';
import { mkdir, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setImmediate, setTimeout as delay } from 'node:timers/promises';
import { randomLayer, type BuiltImage } from '../helpers/images.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import {
  assertFails,
  openStage,
  parseReceipt,
  receiptOf,
  verifiedBlobs,
  type Stage,
} from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

const IMAGES = 10;
const OLD_BYTES = 8_000_000;
/** The ten images have some 8 MB together. */
const LIMIT_BYTES = 10_000_000;
/** Of the store's file system, in which two thirds are taken at first. */
const SMALL_DISK_BYTES = 9_000_000;
const LAYER_BYTES = 2_500_000;

describe('one store', { skip: skipWithout('docker-registry') }, () => {
  const scope = suiteScope();
  let stage: Stage;
  before(async () => {
    stage = await openStage(scope);
  });
  const argsFor = (name: string): string[] => [
    ...['torrent', 'pull', stage.name(name), '--json', '--torrent-service', stage.service.url],
  ];

  test('ten pulls of overlapping images at once, gc in between: all right, each blob downloaded once', async (t) => {
    const images: BuiltImage[] = [];
    for (let at = 0; at < IMAGES; at++) {
      // Three shared layers of five: neighbours overlap.
      const seeds = [at % 5, (at + 1) % 5, (at + 2) % 5].map((shared) => `shared ${shared}`);
      const layers = [
        ...seeds.map((seed) => randomLayer(1_200_000, seed)),
        randomLayer(200_000, `own ${at}`),
      ];
      const image = await stage.layout.addImage({ layers });
      await stage.push(image.manifest, `team/image${at}:1`);
      images.push(image);
    }
    const old = await stage.layout.addImage({ layers: [randomLayer(OLD_BYTES, 'old')] });
    await stage.push(old.manifest, 'team/old:1');
    const node = await quayctlNode(t);
    receiptOf(await node.run(argsFor('team/old:1')));
    const moved = stage.pipe.traffic.toClient;
    const pulls = images.map((_, at) => node.start(argsFor(`team/image${at}:1`)));
    const collected = await collectUntil(node, Promise.all(pulls.map(({ exited }) => exited)));
    for (const [at, pull] of pulls.entries()) {
      assert.equal((await pull.exited).code, 0, `${at}: ${pull.stderr()}`);
      parseReceipt(pull.stdout());
    }
    const blobs = await verifiedBlobs(node.store);
    const wanted = new Map(
      images.flatMap(({ config, layers, manifest }) =>
        [config, manifest, ...layers].map((blob) => [blob.digest, blob]),
      ),
    );
    for (const { digest } of wanted.values()) assert.ok(blobs.has(digest), digest);
    const size = [...wanted.values()].reduce((sum, blob) => sum + blob.size, 0);
    const crossed = stage.pipe.traffic.toClient - moved;
    t.diagnostic(`${collected} collections; ${(crossed / size).toFixed(3)} times the blobs crossed the pipe`);
    assert.ok(crossed < size * 1.1, `${crossed} bytes crossed for ${size} of blobs`);
    for (const { digest } of old.layers) assert.ok(!blobs.has(digest), 'what nobody uses made room');
  });

  /** Over and over, down to a limit that the ten alone keep: what they use is left alone. */
  async function collectUntil(node: QuayctlNode, ended: Promise<unknown>): Promise<number> {
    for (let count = 1; ; count++) {
      const { code, stderr } = await node.run(['store', 'gc', '--max-size', String(LIMIT_BYTES)]);
      assert.equal(code, 0, stderr);
      if (await Promise.race([ended.then(() => true), setImmediate(false)])) return count;
    }
  }

  test(
    'on a disk that fills up it ends with 1 and a hint, and resumes after space is freed',
    { skip: skipWithout('root') },
    async (t) => {
      const image = await stage.layout.addImage({
        layers: [randomLayer(LAYER_BYTES, 'x'), randomLayer(LAYER_BYTES, 'y')],
      });
      await stage.push(image.manifest, 'team/large:1');
      const node = await quayctlNode(t);
      const disk = join(node.home, 'small');
      await mkdir(disk);
      await mustRun('mount', ['-t', 'tmpfs', '-o', `size=${SMALL_DISK_BYTES}`, 'quayctl-test', disk]);
      const args = [...argsFor('team/large:1'), '--store', join(disk, 'store')];
      const ballast = join(disk, 'ballast');
      await writeFile(ballast, Buffer.alloc(SMALL_DISK_BYTES - 4_000_000));
      const early = await node.run(args);
      assertFails(early, 1, 'disk-full');
      assert.match(early.stderr, /5\.0 MB are to be downloaded, and \S+ has room for [\d.]+ MB$/m);
      assert.equal((await verifiedBlobs(join(disk, 'store'))).size, 0, 'nothing is begun');

      // It fills up while the pull is under way.
      await rm(ballast);
      stage.pipe.link.bytesPerSecond = 2_000_000;
      const pull = node.start(args);
      const begun = stage.pipe.traffic.toClient;
      while (stage.pipe.traffic.toClient - begun < 1_000_000) await delay(10);
      await writeFile(ballast, Buffer.alloc(SMALL_DISK_BYTES - 3_500_000));
      stage.pipe.link.bytesPerSecond = Infinity;
      const { code } = await pull.exited;
      assertFails({ code, signal: null, stdout: pull.stdout(), stderr: pull.stderr() }, 1, 'disk-full');
      assert.match(pull.stderr(), /^hint: free some space/m);
      for (const { digest } of image.layers) {
        const blobs = await verifiedBlobs(join(disk, 'store'));
        if (!blobs.has(digest)) assert.ok((await readdir(join(disk, 'store/quayctl/partial'))).length > 0);
      }
      await rm(ballast);
      const { total } = receiptOf(await node.run(args));
      assert.ok(total.fromStore > 500_000, `${total.fromStore} bytes were kept`);
    },
  );

  test('a seed of the whole store gives up what gc chooses, and goes on with the rest', async (t) => {
    const node = await quayctlNode(t);
    for (const name of ['team/given:1', 'team/kept:1']) {
      const image = await stage.layout.addImage({ layers: [randomLayer(LAYER_BYTES, name)] });
      await stage.push(image.manifest, name);
      receiptOf(await node.run(argsFor(name)));
    }
    const seed = node.start(['torrent', 'seed', '--no-progress', '--torrent-service', stage.service.url]);
    await seed.waitFor(/seeding 4 blobs/i);
    const open = async (): Promise<number> => {
      const files = await readdir(`/proc/${seed.pid}/fd`);
      const targets = await Promise.all(
        files.map((file) => readlink(`/proc/${seed.pid}/fd/${file}`).catch(() => '')),
      );
      return targets.filter((target) => target.startsWith(join(node.store, 'blobs'))).length;
    };
    assert.equal(await open(), 4);
    const limit = String(LAYER_BYTES + 100_000);
    const gc = await node.run(['store', 'gc', '--max-size', limit, '--json']);
    const { removed, dryRun } = JSON.parse(gc.stdout) as { removed: { name: string }[]; dryRun: boolean };
    assert.deepEqual([removed.map(({ name }) => name), dryRun], [[stage.name('team/given:1')], false]);
    while ((await open()) > 2) await delay(50);
    assert.equal((await seed.kill('SIGTERM')).code, 0, seed.stderr());
  });
});
