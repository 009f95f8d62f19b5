import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { openFaultLane, type FaultLane } from '../helpers/fault-lane.ts';
import type { HttpFault, HttpFaultProxy } from '../helpers/fault-proxy.ts';
import { skipWithout } from '../helpers/programs.ts';
import { bytesInStore, ProgressWatch } from '../helpers/progress.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { receiptOf, verifiedBlobs } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

/** The limit is 5 s for each lost path; tests allow twice that. */
const MAX_STALL_MS = 10_000;
const PULL_MS = 60_000;
/** Pulls side by side: they mostly wait. Each lane has servers of its own. */
const LANES = 3;

type Loss = (lane: FaultLane) => Promise<void> | void;

/** From now on; what is under way is cut, so that the fault is met. */
function turn(proxy: HttpFaultProxy, fault: HttpFault): void {
  proxy.faults.push(fault);
  proxy.cutAll();
}

/** Nothing is answered any more, what is under way included; the connections stay. */
function silence(proxy: HttpFaultProxy): void {
  proxy.faults.push({ silent: true });
  proxy.link.bytesPerSecond = 1;
}

const WAYS: Readonly<Record<string, (proxy: HttpFaultProxy) => void>> = {
  'accepts but never answers': silence,
  'answers 500': (proxy) => turn(proxy, { status: 500 }),
  'cuts the stream': (proxy) => turn(proxy, { cutAfter: 300 }),
  'sends wrong bytes': (proxy) => turn(proxy, { corruptAt: 100 }),
};

const LOSSES: Readonly<Record<string, Loss>> = {
  'the tracker is killed': ({ tracker }) => tracker.kill(),
  'the service is killed': ({ service }) => service.kill(),
  'the registry is killed': ({ registry }) => registry.kill(),
  'the seed is killed': ({ seed }) => seed.kill(),
  'the seed accepts but never answers': ({ seed }) => seed.stop(),
  ...Object.fromEntries(
    Object.entries(WAYS).flatMap(([way, lose]): [string, Loss][] => [
      [`the tracker ${way}`, ({ tracker }) => lose(tracker.proxy)],
      [`the service ${way}`, ({ service }) => lose(service.proxy)],
      [`the registry ${way}`, ({ pipe }) => lose(pipe)],
    ]),
  ),
};

/** In CI each loss in the middle, and of who gives bytes early and late, too; `scripts/faults` tries all. */
function momentsOf(loss: string): readonly number[] {
  return process.env['FAULTS'] === 'all' || /^the (?:registry|seed) is killed$/.test(loss)
    ? [0.1, 0.5, 0.95]
    : [0.5];
}

describe('a path that is lost', { skip: skipWithout('docker-registry'), concurrency: LANES }, () => {
  const scope = suiteScope();
  const free: FaultLane[] = [];
  before(async () => {
    free.push(...(await Promise.all(Array.from({ length: LANES }, () => openFaultLane(scope)))));
  });

  for (const [what, lose] of Object.entries(LOSSES)) {
    for (const moment of momentsOf(what)) {
      test(`${what} at ${moment * 100} %: the image is right, and the pull stalls for seconds at most`, async (t) => {
        const lane = free.pop() ?? assert.fail('no lane');
        try {
          await lane.heal();
          const node = await quayctlNode(t);
          const args = ['--json', '--torrent-service', lane.service.proxy.url];
          const pull = node.start(['torrent', 'pull', lane.name, ...args]);
          const progress = new ProgressWatch(node.store, lane.size);
          await progress.reached(moment);
          await lose(lane);
          const limit = setTimeout(() => void pull.kill('SIGKILL'), PULL_MS);
          const exit = await pull.exited;
          clearTimeout(limit);
          const stall = await progress.end();
          const output = { ...exit, stdout: pull.stdout(), stderr: pull.stderr() };
          const { total } = receiptOf(output);
          t.diagnostic(
            `stall ${(stall / 1000).toFixed(1)} s, ${total.fromPeers} from peers, ${total.fromRegistry} from the registry`,
          );
          const blobs = await verifiedBlobs(node.store);
          for (const { digest } of lane.image.layers) assert.ok(blobs.has(digest), digest);
          assert.ok(
            stall < MAX_STALL_MS,
            `${output.stderr}\nstalled for ${stall} ms; ${await bytesInStore(node.store)} bytes`,
          );
        } finally {
          free.push(lane);
        }
      });
    }
  }
});
