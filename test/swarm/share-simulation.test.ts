import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { DEFAULTS, SCENARIOS } from '../../scripts/bench/simulation/scenarios.ts';
import { simulate, type SimulationOptions } from '../../scripts/bench/simulation/simulation.ts';
import { Random } from '../helpers/fuzz.ts';
import { ConnectedSwarm } from './connected-swarm.ts';

const MIB = 2 ** 20;
const SECOND_MS = 1000;

function seeded(t: test.TestContext): { readonly seed: number; readonly random: Random } {
  const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 32 - 1));
  t.diagnostic(`FUZZ_SEED=${seed}`);
  return { seed, random: new Random(seed) };
}

test('connected nodes without losses fetch no piece twice', () => {
  for (const count of [2, 3, 5, 8, 16, 40]) {
    const swarm = new ConnectedSwarm();
    for (let node = 0; node < count; node++) swarm.join();
    assert.ok(swarm.run(4000), `${count} nodes end`);
    assert.equal(swarm.fetched, swarm.pieces, `${count} nodes`);
  }
});

test('nodes that join while others fetch fetch no piece twice', (t) => {
  const { seed, random } = seeded(t);
  for (let round = 0; round < 20; round++) {
    const swarm = new ConnectedSwarm();
    swarm.join();
    swarm.join();
    const ended = swarm.run(4000, () => {
      if (swarm.nodes.length < 12 && random.below(10) === 0) swarm.join();
    });
    assert.ok(ended, `FUZZ_SEED=${seed}`);
    assert.equal(swarm.fetched, swarm.pieces, `FUZZ_SEED=${seed} round ${round}`);
  }
});

test('no piece is orphaned, whoever joins, dies, is slow, lies or loses messages', (t) => {
  const { seed, random } = seeded(t);
  for (let round = 0; round < 12; round++) {
    const nodes = 2 + random.below(14);
    const options: SimulationOptions = {
      ...DEFAULTS,
      nodes,
      seed: random.below(2 ** 31),
      blobBytes: (1 + random.below(32)) * MIB - random.below(1000),
      startAt: (_, by) => by.below(4 * SECOND_MS),
      slowNodes: random.below(3) === 0 ? 1 : 0,
      deaths: random.below(nodes - 1),
      liars: random.below(4),
      lostClaims: random.below(2) * 0.3,
      wantedPeers: 1 + random.below(50),
    };
    const { unfinished } = simulate(options);
    assert.equal(unfinished, 0, `FUZZ_SEED=${seed} round ${round}: ${JSON.stringify(options)}`);
  }
});

test('a hundred nodes end within a tenth of the bound, and the gateway carries the blob about once', () => {
  const options = { ...DEFAULTS, nodes: 100, seed: 1 };
  const result = simulate(options);
  assert.equal(result.unfinished, 0);
  assert.ok(result.makespanMs / result.boundMs < 1.1, `makespan ${result.makespanMs / result.boundMs}`);
  const carried = result.gatewayBytes / options.blobBytes;
  assert.ok(carried >= 1 && carried < 1.05, `gateway ${carried}`);
  const again = simulate({ ...options, nodes: 10 });
  assert.deepEqual(simulate({ ...options, nodes: 10 }), again, 'the same seed, the same figures');
});

test('whatever befalls ten nodes costs those that live, and are fast, less than a tenth', () => {
  for (const [name, changes] of Object.entries(SCENARIOS)) {
    const result = simulate({ ...DEFAULTS, nodes: 10, seed: 1, ...changes(10) });
    assert.equal(result.unfinished, 0, name);
    // TCP loses no claims; without some of them pieces are fetched twice.
    const most = name === 'lost' ? 1.3 : 1.1;
    assert.ok(result.makespanMs / result.boundMs < most, `${name}: ${result.makespanMs / result.boundMs}`);
  }
});
