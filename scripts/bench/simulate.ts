import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/units.ts';
import { DEFAULTS, SCENARIOS } from './simulation/scenarios.ts';
import { simulate, type SimulationOptions } from './simulation/simulation.ts';

const HELP = `Swarms behind one thin gateway, in virtual time, with the program's own FetchPolicy. The model stands at the head
of scripts/bench/simulation/simulation.ts. Same seed, same figures.

  scripts/bench/simulate [--nodes 8,10,100,1000] [--scenarios ${Object.keys(SCENARIOS).join(',')}]
                         [--seed 1] [--runs 1] [--rate 60] [--lan 1000] [--size 128MiB] [--delay 20] [--startup 300]
                         [--peers 50] [--fetchers 8] [--turns 0]

--rate, --lan   of the gateway and of a node's link, Mbit/s
--delay         from a request to the registry to its first byte, milliseconds
--peers         that the tracker names
--fetchers      how many nodes fetch from the registry
--turns         how many ask one holder of a piece at a time; 0: all, as the program does
`;

const BITS = 8;

function main(): void {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '8,10,100,1000' },
      scenarios: { type: 'string', default: Object.keys(SCENARIOS).join(',') },
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: '1' },
      rate: { type: 'string', default: '60' },
      lan: { type: 'string', default: '1000' },
      size: { type: 'string', default: '128MiB' },
      delay: { type: 'string', default: '20' },
      startup: { type: 'string', default: '300' },
      peers: { type: 'string', default: '50' },
      fetchers: { type: 'string' },
      turns: { type: 'string', default: '0' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const perMs = (megabits: string): number => (Number(megabits) * 1e6) / BITS / 1000;
  const common = {
    ...DEFAULTS,
    gatewayRate: perMs(values.rate),
    lanRate: perMs(values.lan),
    blobBytes: parseSize(values.size.replace(/iB$/, 'i')),
    delayMs: Number(values.delay),
    startupMs: Number(values.startup),
    wantedPeers: Number(values.peers),
    turns: Number(values.turns),
    ...(values.fetchers === undefined ? {} : { fetchers: Number(values.fetchers) }),
  };
  print(
    'nodes  scenario   seed   bound     last   last/bound   gateway/blob   slow nodes   unfinished   announces/s   computed in',
  );
  for (const nodes of values.nodes.split(',').map(Number)) {
    for (const scenario of values.scenarios.split(',')) {
      const changes = SCENARIOS[scenario];
      if (changes === undefined) throw new Error(`no scenario ${scenario}`);
      for (let run = 0; run < Number(values.runs); run++) {
        show(scenario, { ...common, nodes, seed: Number(values.seed) + run, ...changes(nodes) });
      }
    }
  }
}

function show(scenario: string, options: SimulationOptions): void {
  const started = process.cpuUsage();
  const { makespanMs, boundMs, gatewayBytes, slowMs, unfinished, announces } = simulate(options);
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  print(
    [
      String(options.nodes).padStart(5),
      ` ${scenario.padEnd(10)}`,
      String(options.seed).padStart(4),
      seconds(boundMs).padStart(7),
      seconds(makespanMs).padStart(8),
      (makespanMs / boundMs).toFixed(3).padStart(12),
      (gatewayBytes / options.blobBytes).toFixed(3).padStart(14),
      (slowMs === undefined ? '-' : seconds(slowMs)).padStart(12),
      String(unfinished).padStart(12),
      `${Math.max(...announces.filter((count) => count > 0))} max`.padStart(13),
      seconds(cpuMs(started)).padStart(13),
    ].join(' '),
  );
}

/** User and system time: what else the machine does is not counted. */
function cpuMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

main();
