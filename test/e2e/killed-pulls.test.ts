import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { describe, before, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bytesInStore } from '../helpers/progress.ts';
import { Random } from '../helpers/fuzz.ts';
import { randomLayer, type BuiltImage } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { openStage, receiptOf, verifiedBlobs, type Stage } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

const IMAGE = 'team/app:1.0';
/** 50 in CI, 200 by `scripts/faults`. */
const KILLS = process.env['FAULTS'] === 'all' ? 200 : 50;
const LANES = 2;
const LAYERS = [4_000_000, 3_000_000, 300_000];
const LINK = 5_000_000;
/** From the start of the process to some time after its end, milliseconds. */
const MOMENTS = [300, 2000] as const;
/** Pieces of 512 KiB that are on their way at one moment: eight from the registry, and their answers in the pipe. */
const IN_FLIGHT_BYTES = 8 * 512 * 1024;

describe('pulls that are killed', { skip: skipWithout('docker-registry'), concurrency: LANES }, () => {
  const scope = suiteScope();
  const stages: Stage[] = [];
  let image: BuiltImage;
  let size: number;

  before(async () => {
    for (let lane = 0; lane < LANES; lane++) {
      const stage = await openStage(scope);
      image = await stage.layout.addImage({ layers: LAYERS.map((bytes, at) => randomLayer(bytes, `${at}`)) });
      await stage.push(image.manifest, IMAGE);
      stage.pipe.link.bytesPerSecond = LINK;
      stages.push(stage);
    }
    size = [image.config, ...image.layers].reduce((sum, blob) => sum + blob.size, 0);
  });

  const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 32 - 1));
  for (let lane = 0; lane < LANES; lane++) {
    test(`at random moments (${lane + 1}): the store is never wrong, and the next run goes on`, async (t) => {
      const stage = stages[lane] ?? assert.fail();
      await killAgainAndAgain(t, stage, new Random(seed + lane), KILLS / LANES);
    });
  }

  async function killAgainAndAgain(
    t: TestContext,
    stage: Stage,
    random: Random,
    kills: number,
  ): Promise<void> {
    const node = await quayctlNode(t);
    const args = ['torrent', 'pull', stage.name(IMAGE), '--json', '--torrent-service', stage.service.url];
    let [moved, killed, finished, mostTwice] = [stage.pipe.traffic.toClient, 0, 0, 0];
    for (let round = 0; round < kills; round++) {
      const pull = node.start(args);
      await Promise.race([pull.exited, sleep(MOMENTS[0] + random.below(MOMENTS[1] - MOMENTS[0]))]);
      const { code } = await pull.kill('SIGKILL');
      await verifiedBlobs(node.store).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      });
      if (code === null) killed++;
      if (code === null && round < kills - 1) continue;
      receiptOf(await node.run(args));
      const blobs = await verifiedBlobs(node.store);
      for (const { digest } of image.layers) assert.ok(blobs.has(digest), `FUZZ_SEED=${seed} round ${round}`);
      const twice = stage.pipe.traffic.toClient - moved - size;
      const inFlight = twice / Math.max(1, killed);
      assert.ok(inFlight < IN_FLIGHT_BYTES, `FUZZ_SEED=${seed}: ${twice} bytes twice, after ${killed} kills`);
      mostTwice = Math.max(mostTwice, inFlight);
      finished++;
      [moved, killed] = [stage.pipe.traffic.toClient, 0];
      await rm(node.store, { recursive: true });
    }
    t.diagnostic(
      `seed ${seed}: ${kills} runs killed, ${finished} pulls ended well, ${Math.round(mostTwice)} bytes twice for each kill at most`,
    );
    assert.equal(await bytesInStore(node.store), 0);
  }
});
