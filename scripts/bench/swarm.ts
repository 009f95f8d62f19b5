import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { mkdir } from 'node:fs/promises';
import { parseSize } from '../../src/base/units.ts';
import { TestLayout } from '../../test/helpers/images.ts';
import { run, startProcess, type Scope } from '../../test/helpers/processes.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { installBundle } from './bundle.ts';
import { openLan, type Lan, type LanHost } from './lan.ts';
import { openScope } from './scope.ts';
import { CLIENTS, type Client, type Task } from './swarm-clients.ts';

const HELP = `Nodes in network namespaces on one switch, the service behind one thin gateway, one blob; all nodes start at once.
A node's time runs from the start of its process to its end, without seeding. One table for all clients, of one run.

  scripts/bench/swarm [--nodes 8] [--rate 60mbit] [--size 128MiB] [--clients quayctl,aria2,libtorrent,webtorrent,direct]
                      [--runs 1] [--cold]

--cold   quayctl's service has never seen the blob (else its torrent is made beforehand)
Needs root, ip, tc, and for their rows aria2c, python3-libtorrent, curl; GNU time measures processor and memory.
`;

const REPOSITORY = 'bench/blob';
/** GNU time: seconds, user, system, largest resident set in KiB. */
const TIME_FORMAT = '%e %U %S %M';

interface Row {
  readonly client: string;
  readonly seconds: readonly number[];
  readonly gatewayBytes: number;
  readonly cpuSeconds: number;
  readonly largestRss: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '8' },
      rate: { type: 'string', default: '60mbit' },
      size: { type: 'string', default: '128Mi' },
      clients: { type: 'string', default: 'quayctl,aria2,libtorrent,webtorrent,direct' },
      runs: { type: 'string', default: '1' },
      cold: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const scope = openScope();
  try {
    const size = parseSize(values.size.replace(/iB$/, 'i'));
    const lan = await openLan(scope, Number(values.nodes), values.rate);
    const bound = (size * 8) / Number.parseFloat(values.rate) / 1e6;
    print(
      `${values.nodes} nodes, ${values.rate} gateway, ${size} bytes; bound ${bound.toFixed(1)} s; ${cpus().length} cores`,
    );
    print('client        first   median     last   last/bound   gateway/blob   cpu, all   largest rss');
    for (let round = 0; round < Number(values.runs); round++) {
      for (const name of values.clients.split(',')) {
        const client = CLIENTS[name];
        if (client === undefined)
          throw new Error(`no client ${name}; there are ${Object.keys(CLIENTS).join(', ')}`);
        print(shown(await measure(scope, lan, name, client, size, values.cold), size, bound));
      }
    }
  } finally {
    await scope.end();
  }
}

/** A service of its own for each run: no tracker remembers the peers of another. */
async function measure(
  scope: Scope,
  lan: Lan,
  name: string,
  client: Client,
  size: number,
  cold: boolean,
): Promise<Row> {
  const stage = openScope();
  scope.after(() => stage.end());
  try {
    const task = await openService(stage, lan, size, cold && name === 'quayctl');
    const before = await lan.throughGateway();
    const ends = await Promise.all(lan.nodes.map((node) => runNode(stage, node, client, task)));
    return {
      client: name,
      seconds: ends.map(({ seconds }) => seconds).sort((a, b) => a - b),
      gatewayBytes: (await lan.throughGateway()) - before,
      cpuSeconds: ends.reduce((sum, { cpu }) => sum + cpu, 0),
      largestRss: Math.max(...ends.map(({ rss }) => rss)),
    };
  } finally {
    await stage.end();
  }
}

async function openService(
  scope: Scope,
  { gateway }: Lan,
  size: number,
  cold: boolean,
): Promise<Omit<Task, 'directory' | 'address'>> {
  const quayctl = await installBundle(scope);
  const layout = await TestLayout.create(await tempDirectory(scope, 'swarm'));
  const entries = [{ name: 'blob', content: { random: size, seed: String(Math.random()) } }];
  const image = await layout.addImage({ layers: [{ entries, compression: 'none' }] }, `${REPOSITORY}:1`);
  const small = [{ name: 'blob', content: { random: 2 ** 21, seed: 'small' } }];
  await layout.addImage({ layers: [{ entries: small, compression: 'none' }] }, `${REPOSITORY}:small`);
  const { env } = await quayctlNode(scope);
  const listen = `${gateway.address}:7070`;
  const [program, args] = gateway.inside(process.execPath, [
    ...[quayctl, 'serve', '--upstream', `oci:${layout.directory}`, '--listen', listen],
  ]);
  const service = startProcess(program, args, { env });
  scope.after(async () => void (await service.kill()));
  await service.waitFor(/http:\/\//);
  const [layer] = image.layers;
  if (layer === undefined) throw new Error('no layer');
  const base = `http://${listen}`;
  const torrent = join(layout.directory, 'blob.torrent');
  const ask = `${base}/c1/torrent/${REPOSITORY}/blobs/${layer.digest}?ns=${listen}&wait=60`;
  if (!cold) {
    const [curl, curlArgs] = gateway.inside('curl', ['-sSf', '-o', torrent, ask]);
    const { code, stderr } = await run(curl, curlArgs);
    if (code !== 0) throw new Error(stderr);
  }
  await warmCode(scope, gateway, quayctl, `${listen}/${REPOSITORY}:small`, base);
  const blobUrl = `${base}/v2/${REPOSITORY}/blobs/${layer.digest}`;
  return { image: `${listen}/${REPOSITORY}:1`, service: base, torrent, blobUrl, quayctl };
}

/** The cache of compiled code is warm, as on any machine where the program has run before. */
async function warmCode(
  scope: Scope,
  host: LanHost,
  quayctl: string,
  image: string,
  service: string,
): Promise<void> {
  const { env } = await quayctlNode(scope);
  const pull = [
    process.execPath,
    quayctl,
    'torrent',
    'pull',
    image,
    '--insecure',
    '--torrent-service',
    service,
  ];
  const [program, args] = host.inside('env', [`XDG_CACHE_HOME=${codeCache(quayctl)}`, ...pull]);
  const { code, stderr } = await run(program, args, { env });
  if (code !== 0) throw new Error(stderr);
}

function codeCache(quayctl: string): string {
  return join(dirname(quayctl), 'cache');
}

async function runNode(
  scope: Scope,
  node: LanHost,
  client: Client,
  task: Omit<Task, 'directory' | 'address'>,
): Promise<{ seconds: number; cpu: number; rss: number }> {
  const { home, env } = await quayctlNode(scope);
  const directory = join(home, 'out');
  await mkdir(directory);
  const figures = join(home, 'time');
  const command = client({ ...task, directory, address: node.address });
  const [program, args] = node.inside('/usr/bin/time', ['-f', TIME_FORMAT, '-o', figures, ...command.flat()]);
  const child = startProcess(program, args, {
    env: { ...env, XDG_CACHE_HOME: codeCache(task.quayctl) },
  });
  scope.after(() => node.silence());
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`${command.flat().join(' ')}: exit ${code}\n${child.stderr()}`);
  await writeFile(join(home, 'log'), child.stderr());
  const [seconds = NaN, user = NaN, system = NaN, rss = NaN] = (await readFile(figures, 'utf8'))
    .trim()
    .split(' ')
    .map(Number);
  return { seconds, cpu: user + system, rss: rss * 1024 };
}

function shown(
  { client, seconds, gatewayBytes, cpuSeconds, largestRss }: Row,
  size: number,
  bound: number,
): string {
  const last = seconds.at(-1) ?? Number.NaN;
  const median = seconds[Math.floor(seconds.length / 2)] ?? Number.NaN;
  return [
    client.padEnd(11),
    ...[seconds[0] ?? Number.NaN, median, last].map((value) => `${value.toFixed(1)} s`.padStart(8)),
    (last / bound).toFixed(2).padStart(12),
    (gatewayBytes / size).toFixed(3).padStart(14),
    `${cpuSeconds.toFixed(1)} s`.padStart(10),
    `${Math.round(largestRss / 2 ** 20)} MiB`.padStart(13),
  ].join(' ');
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
