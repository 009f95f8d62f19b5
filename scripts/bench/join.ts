import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/units.ts';
import { mustRun, startProcess, type Scope } from '../../test/helpers/processes.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { openLan, type LanHost } from './lan.ts';
import { openScope } from './scope.ts';
import { CLIENTS, type Task } from './swarm-clients.ts';
import { openStage, runNode, seedOn, type Stage } from './swarm-stage.ts';

const HELP = `A node joins when others have finished and seed. Its link to the LAN is shaped; beside it one HTTP stream of the
same bytes over the same link, from one of the seeding machines. Prints times, the ratio, and what came from the registry.

  scripts/bench/join [--seeds 2] [--rate 60mbit] [--link 500mbit] [--size 512MiB] [--runs 3]

Needs root, ip, tc, curl and python3.
`;

const pull = CLIENTS['quayctl'];
const LAYERS_FROM_REGISTRY = /"fromRegistry":(\d+),"fromStore":\d+,"alreadyInEngine":\d+,"wasted"/;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '2' },
      rate: { type: 'string', default: '60mbit' },
      link: { type: 'string', default: '500mbit' },
      size: { type: 'string', default: '512Mi' },
      runs: { type: 'string', default: '3' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const scope = openScope();
  try {
    const size = parseSize(values.size.replace(/iB$/, 'i'));
    // What the seeds do beforehand is not measured: they get the blob over an open gateway.
    const lan = await openLan(scope, Number(values.seeds) + 1, '10gbit');
    const [joiner, ...seeds] = lan.nodes;
    if (joiner === undefined || seeds[0] === undefined || pull === undefined) throw new Error('no nodes');
    const stage = await openStage(scope, lan, [size]);
    await Promise.all(seeds.map((seed) => seedOn(scope, seed, stage)));
    const url = await serveOver(scope, seeds[0], stage);
    await joiner.shape(values.link);
    process.stdout.write(`${size} bytes over ${values.link}, ${seeds.length} seeds\n`);
    process.stdout.write('HTTP stream   quayctl   ratio   layer bytes from the registry\n');
    for (let run = 0; run < Number(values.runs); run++) {
      const http = await runNode(scope, joiner, fetchFrom(url), stage);
      const ours = await runNode(scope, joiner, pull, stage);
      const registry = LAYERS_FROM_REGISTRY.exec(ours.stdout)?.[1] ?? '?';
      const ratio = (http.seconds / ours.seconds).toFixed(2);
      process.stdout.write(
        `${http.seconds.toFixed(2)} s        ${ours.seconds.toFixed(2)} s    ${ratio}    ${registry}\n`,
      );
    }
  } finally {
    await scope.end();
  }
}

/** The blob behind a web server on one of the LAN's machines. */
async function serveOver(scope: Scope, host: LanHost, { blobUrl }: Stage): Promise<string> {
  const directory = await tempDirectory(scope, 'http');
  await mustRun(...host.inside('curl', ['-sSf', '-o', join(directory, 'blob'), blobUrl]));
  const [program, args] = host.inside('python3', ['-m', 'http.server', '8000', '--directory', directory]);
  startProcess(program, args, { env: { ...process.env, PYTHONUNBUFFERED: '1' } });
  scope.after(() => host.silence());
  return `http://${host.address}:8000/blob`;
}

function fetchFrom(url: string): (task: Task) => [string, string[]] {
  return ({ directory }) => [
    'curl',
    ['-sSf', '--retry', '5', '--retry-connrefused', '-o', join(directory, 'blob'), url],
  ];
}

await main();
