import { readFile, writeFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/units.ts';
import { decodeTorrent, encodeTorrent } from '../../src/metainfo/metainfo.ts';
import {
  mustRun,
  run as runProgram,
  startProcess,
  type RunningProcess,
  type Scope,
} from '../../test/helpers/processes.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import type { LanHost } from './lan.ts';
import { openScope } from './scope.ts';
import { openStage, type Stage } from './swarm-stage.ts';

const HELP = `One seed gives one leech a blob over loopback, each client to its own kind, in turn, in one run. No web seed.

  scripts/bench/loopback [--size 1GiB] [--runs 3] [--clients quayctl,libtorrent,aria2]

A leech's time runs from the start of its process to its end; CPU seconds are user and system time per GiB, RSS is the
peak. On a machine with other work, CPU seconds are the figures to trust. Needs python3, and for their rows
python3-libtorrent and aria2c.
`;

/** For a file of a GiB. */
const SEED_CHECKS_MS = 10_000;
const LIBTORRENT = join(import.meta.dirname, 'swarm-libtorrent.py');

/** What both ends of a client are told. */
interface Pair {
  readonly stage: Stage;
  /** A torrent with a tracker and no web seed. */
  readonly torrent: string;
  /** The blob as a file of the name that the torrent gives it, in a folder of its own. */
  readonly blobFolder: string;
}

interface Client {
  /** `seed` resolves when others can find it. */
  readonly announcesItself?: boolean;
  /** @returns the process that gives */
  seed(scope: Scope, pair: Pair): Promise<RunningProcess>;
  leech(pair: Pair, directory: string): [program: string, args: string[]];
}

const CLIENTS: Readonly<Record<string, Client>> = {
  quayctl: {
    announcesItself: true,
    seed: async (scope, { stage }) => {
      const { env } = await quayctlNode(scope);
      const child = startProcess(process.execPath, [...quayctl(stage, 'seed'), '--no-progress'], { env });
      scope.after(async () => void (await child.kill()));
      await child.waitFor(/Seeding/);
      return child;
    },
    leech: ({ stage }, directory) => [
      process.execPath,
      [...quayctl(stage, 'pull'), '--skip-web-seed', '--store', join(directory, 'store'), '--json'],
    ],
  },
  libtorrent: {
    seed: async (scope, { torrent, blobFolder }) =>
      start(scope, '/usr/bin/python3', [LIBTORRENT, torrent, blobFolder, '127.0.0.1', '6901', 'seed']),
    leech: ({ torrent }, directory) => [
      '/usr/bin/python3',
      [LIBTORRENT, torrent, directory, '127.0.0.1', '6902'],
    ],
  },
  aria2: {
    seed: async (scope, { torrent, blobFolder }) =>
      start(scope, 'aria2c', [...aria2(blobFolder), '--check-integrity', '--seed-ratio=0', torrent]),
    leech: ({ torrent }, directory) => ['aria2c', [...aria2(directory), '--seed-time=0', torrent]],
  },
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      size: { type: 'string', default: '1Gi' },
      runs: { type: 'string', default: '3' },
      clients: { type: 'string', default: 'quayctl,libtorrent,aria2' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const size = parseSize(values.size.replace(/iB$/, 'i'));
  process.stdout.write(`${size} bytes, one seed, one leech, loopback\n${HEADER}\n`);
  for (let run = 0; run < Number(values.runs); run++) {
    for (const name of values.clients.split(',')) {
      const client = CLIENTS[name];
      if (client === undefined) throw new Error(`no client ${name}`);
      const figures = await measure(client, size);
      process.stdout.write(`${name.padEnd(11)} ${row(figures, size)}\n`);
    }
  }
}

const HEADER = 'client        leech      MB/s   leech CPU   seed CPU   RSS leech  seed   load';

interface Figures {
  readonly seconds: number;
  readonly leech: Usage;
  readonly seed: Usage;
}

/** What a process used: seconds of CPU, bytes of memory at its peak. */
interface Usage {
  readonly cpu: number;
  readonly rss: number;
}

function row({ seconds, leech, seed }: Figures, size: number): string {
  const gib = size / 2 ** 30;
  return [
    `${seconds.toFixed(2).padStart(6)} s`,
    (size / 1e6 / seconds).toFixed(0).padStart(9),
    (leech.cpu / gib).toFixed(2).padStart(11),
    (seed.cpu / gib).toFixed(2).padStart(10),
    `${(leech.rss / 1e6).toFixed(0)} MB`.padStart(11),
    (seed.rss / 1e6).toFixed(0).padStart(5),
    (loadavg()[0] ?? 0).toFixed(1).padStart(6),
  ].join(' ');
}

async function measure(client: Client, size: number): Promise<Figures> {
  const scope = openScope();
  try {
    const pair = await openPair(scope, size);
    const seed = await client.seed(scope, pair);
    // Until a seed has hashed its file and announced itself; ours says when.
    if (!client.announcesItself) await new Promise((resolve) => setTimeout(resolve, SEED_CHECKS_MS));
    const { env } = await quayctlNode(scope);
    const [program, args] = client.leech(pair, await tempDirectory(scope, 'leech'));
    const before = await usageOf(seed.pid);
    const began = performance.now();
    const { code, stderr } = await runProgram('/usr/bin/python3', ['-c', MEASURED, program, ...args], {
      env,
    });
    if (code !== 0) throw new Error(stderr);
    const seconds = (performance.now() - began) / 1000;
    const after = await usageOf(seed.pid);
    const [cpu = 0, rss = 0] = (stderr.trimEnd().split('\n').at(-1) ?? '').split(' ').map(Number);
    return { seconds, leech: { cpu, rss }, seed: { cpu: after.cpu - before.cpu, rss: after.rss } };
  } finally {
    await scope.end();
  }
}

/** Runs a program and says at the end of stderr what it used. */
const MEASURED = `import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)`;

/** Of a process that is running (Linux). */
async function usageOf(pid: number): Promise<Usage> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  const peak = /VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  return { cpu: ticks / 100, rss: Number(peak ?? 0) * 1024 };
}

async function openPair(scope: Scope, size: number): Promise<Pair> {
  const stage = await openStage(scope, { gateway: HERE }, [size]);
  const { name, infoBytes, trackers } = decodeTorrent(await readFile(stage.torrent));
  const torrent = join(await tempDirectory(scope, 'torrent'), 'blob.torrent');
  await writeFile(
    torrent,
    encodeTorrent(infoBytes, { announce: trackers.map(({ announceUrl }) => announceUrl) }),
  );
  const blobFolder = await tempDirectory(scope, 'blob');
  await mustRun('curl', ['-sSf', '-o', join(blobFolder, name), stage.blobUrl]);
  return { stage, torrent, blobFolder };
}

/** This machine as it is. */
const HERE: LanHost = {
  address: '127.0.0.1',
  inside: (program, args) => [program, [...args]],
  silence: () => Promise.resolve(),
  shape: () => Promise.reject(new Error('loopback is not shaped')),
  received: () => Promise.resolve(0),
};

function quayctl({ quayctl: program, image, service }: Stage, verb: string): string[] {
  return [program, 'torrent', verb, image, '--insecure', '--torrent-service', service];
}

function aria2(directory: string): string[] {
  return [
    ...['--dir', directory, '--enable-dht=false', '--bt-enable-lpd=false', '--enable-peer-exchange=false'],
    ...['--file-allocation=none', '--summary-interval=0', '--quiet'],
  ];
}

function start(scope: Scope, program: string, args: string[]): RunningProcess {
  const child = startProcess(program, args, { env: process.env });
  scope.after(async () => void (await child.kill()));
  return child;
}

await main();
