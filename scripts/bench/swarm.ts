import { cpus, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/units.ts';
import type { Scope } from '../../test/helpers/processes.ts';
import { openLan, type Lan } from './lan.ts';
import { openScope } from './scope.ts';
import { CLIENTS, type Client } from './swarm-clients.ts';
import { openStage, runNode, type NodeRun, type ServicePlace } from './swarm-stage.ts';

const HELP = `Nodes in network namespaces on one switch, the service behind one thin gateway, one blob. A node's time runs from
the start of its process to its end, without seeding. One table for all clients, of one run.

  scripts/bench/swarm [--nodes 8] [--rate 60mbit] [--size 128MiB] [--clients quayctl,aria2,libtorrent,webtorrent,direct]
                      [--runs 1] [--service registry|site] [--cold] [--scenario together|rolling|death|slow|layers|ten]

--service   registry: the service stands on the registry's side of the gateway (default)
            site: it stands among the nodes, on a machine of its own, and reads a docker-registry through the gateway
--cold      quayctl's service has never seen the blob (else its torrent is made beforehand, not counted); its upstream is
            then a docker-registry, too, and not a layout on its own disk
--scenario  together: all start at once
            rolling: one node each second; the last is counted from the start of the first
            death: one node is killed when half of the time is over
            slow: one node's link carries 5 Mbit/s; it is not waited for
            layers: four layers of 3/4, 3/16, 3/64 and 1/64 of the size (quayctl only)
            ten: ten layers of 3/32 of the size each (quayctl only)
Needs root, ip, tc, and for their rows aria2c, python3-libtorrent, curl; GNU time measures processor and memory.
`;

const SCENARIOS = ['together', 'rolling', 'death', 'slow', 'layers', 'ten'] as const;
type Scenario = (typeof SCENARIOS)[number];
const SLOW_LINK = '5mbit';

interface Row {
  readonly client: string;
  readonly seconds: readonly number[];
  readonly gatewayBytes: number;
  readonly cpuSeconds: number;
  readonly largestRss: number;
}

interface Question {
  readonly scenario: Scenario;
  readonly size: number;
  /** The blob once through the gateway, seconds. */
  readonly bound: number;
  readonly place: ServicePlace;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '8' },
      rate: { type: 'string', default: '60mbit' },
      size: { type: 'string', default: '128Mi' },
      clients: { type: 'string', default: 'quayctl,aria2,libtorrent,webtorrent,direct' },
      runs: { type: 'string', default: '1' },
      scenario: { type: 'string', default: 'together' },
      service: { type: 'string', default: 'registry' },
      cold: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const scenario = SCENARIOS.find((name) => name === values.scenario);
  if (scenario === undefined)
    throw new Error(`no scenario ${values.scenario}; there are ${SCENARIOS.join(', ')}`);
  const size = parseSize(values.size.replace(/iB$/, 'i'));
  const bound = (size * 8) / Number.parseFloat(values.rate) / 1e6;
  const { service: side, cold } = values;
  if (side !== 'registry' && side !== 'site') throw new Error(`no side ${side}: registry or site`);
  const question: Question = { scenario, size, bound, place: { side, cold } };
  print(
    `${values.nodes} nodes, ${values.rate} gateway, ${size} bytes, ${scenario}, service at the ${side}${cold ? ', cold' : ''}`,
  );
  print(`bound ${bound.toFixed(1)} s; ${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}`);
  print(
    'client        first   median     last   last/bound   gateway/blob   cpu, all   largest rss   load after',
  );
  for (let round = 0; round < Number(values.runs); round++) {
    for (const name of values.clients.split(',')) {
      const client = CLIENTS[name];
      if (client === undefined)
        throw new Error(`no client ${name}; there are ${Object.keys(CLIENTS).join(', ')}`);
      // A network of its own: what one client has shaped or left does not meet the next.
      const scope = openScope();
      try {
        const lan = await openLan(scope, Number(values.nodes) + (side === 'site' ? 1 : 0), values.rate);
        print(shown(await measure(scope, lan, name, client, question), question));
      } finally {
        await scope.end();
      }
    }
  }
}

async function measure(
  scope: Scope,
  { nodes: hosts, ...lan }: Lan,
  name: string,
  client: Client,
  { scenario, size, bound, place }: Question,
): Promise<Row> {
  const isAtSite = place.side === 'site';
  const nodes = isAtSite ? hosts.slice(0, -1) : hosts;
  const parts = { layers: [48, 12, 3, 1], ten: Array<number>(10).fill(6) };
  const layers =
    scenario === 'layers' || scenario === 'ten' ? parts[scenario].map((part) => (size / 64) * part) : [size];
  const stage = await openStage(
    scope,
    lan,
    layers,
    { ...place, cold: place.cold && name === 'quayctl' },
    hosts.at(-1),
  );
  const [odd, ...others] = nodes;
  if (scenario === 'slow') await odd?.shape(SLOW_LINK);
  const before = await lan.throughGateway();
  const start = async (node: (typeof nodes)[number], at: number): Promise<NodeRun> => {
    const delay = scenario === 'rolling' ? at : 0;
    await sleep(delay * 1000);
    const run = await runNode(scope, node, client, stage);
    return { ...run, seconds: run.seconds + delay };
  };
  const isAlike = scenario !== 'slow' && scenario !== 'death';
  if (!isAlike && odd !== undefined) void start(odd, 0).catch(() => undefined);
  if (scenario === 'death') void sleep((bound * 1000) / 2).then(() => odd?.silence());
  const ends = await Promise.all((isAlike ? nodes : others).map(start));
  return {
    client: name,
    seconds: ends.map(({ seconds }) => seconds).sort((a, b) => a - b),
    gatewayBytes: (await lan.throughGateway()) - before,
    cpuSeconds: ends.reduce((sum, { cpu }) => sum + cpu, 0),
    largestRss: Math.max(...ends.map(({ rss }) => rss)),
  };
}

function shown(
  { client, seconds, gatewayBytes, cpuSeconds, largestRss }: Row,
  { size, bound }: Question,
): string {
  const last = seconds.at(-1) ?? Number.NaN;
  const median = seconds[Math.floor(seconds.length / 2)] ?? Number.NaN;
  return [
    client.padEnd(11),
    ...[seconds[0] ?? Number.NaN, median, last].map((value) => `${value.toFixed(1)} s`.padStart(8)),
    (last / bound).toFixed(2).padStart(12),
    (gatewayBytes / size).toFixed(3).padStart(14),
    `${cpuSeconds.toFixed(1)} s`.padStart(10),
    `${Math.round(largestRss / 1e6)} MB`.padStart(13),
    `load ${loadavg()[0]?.toFixed(1)}`.padStart(11),
  ].join(' ');
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
