import type { SimulationOptions } from './simulation.ts';

const SECOND_MS = 1000;
/** 5 Mbit/s, bytes per millisecond. */
const SLOW_RATE = 5e6 / 8 / 1000;

/** `--upload-rate 2000`, bytes per millisecond. */
const SLOW_SEED_RATE = 2000;

type Changes = (nodes: number) => Partial<SimulationOptions>;

const part = (nodes: number, share: number): number => Math.max(1, Math.round(nodes * share));

/** What can befall a swarm. Without more: all start within one second. */
export const SCENARIOS: Readonly<Record<string, Changes>> = {
  together: () => ({}),
  rolling: () => ({ startAt: (node) => node * SECOND_MS }),
  late: (nodes) => ({
    startAt: (node, random) => (node < nodes / 2 ? 0 : 9 * SECOND_MS) + random.below(SECOND_MS),
  }),
  deaths: (nodes) => ({ deaths: part(nodes, 0.25) }),
  slow: (nodes) => ({ slowNodes: part(nodes, 0.1), slowRate: SLOW_RATE }),
  liars: (nodes) => ({ liars: part(nodes, 0.1) }),
  lost: () => ({ lostClaims: 0.2 }),
  far: () => ({ delayMs: 200 }),
  seed: () => ({ seeds: 1, seedRate: SLOW_SEED_RATE }),
  lan500: () => ({ lanRate: 500e6 / 8 / 1000 }),
};

export const DEFAULTS: Omit<SimulationOptions, 'nodes'> = {
  seed: 1,
  blobBytes: 128 * 2 ** 20,
  gatewayRate: 60e6 / 8 / 1000,
  lanRate: 1e9 / 8 / 1000,
  delayMs: 20,
  startupMs: 300,
  startAt: (_, random) => random.below(SECOND_MS),
  slowNodes: 0,
  slowRate: SLOW_RATE,
  deaths: 0,
  liars: 0,
  seeds: 0,
  seedRate: SLOW_SEED_RATE,
  lostClaims: 0,
  wantedPeers: 50,
  turns: 0,
};
