import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/units.ts';
import { decodeTorrent, encodeTorrent } from '../../src/metainfo/metainfo.ts';
import { mustRun, startProcess, type Scope } from '../../test/helpers/processes.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import type { LanHost } from './lan.ts';
import { openScope } from './scope.ts';
import { openStage, type Stage } from './swarm-stage.ts';

const HELP = `One seed gives one leech a blob over loopback, each client to its own kind, in turn, in one run. No web seed.

  scripts/bench/loopback [--size 1GiB] [--runs 3] [--clients quayctl,libtorrent,aria2]

A leech's time runs from the start of its process to its end. Needs for their rows python3-libtorrent and aria2c.
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
  seed(scope: Scope, pair: Pair): Promise<void>;
  leech(pair: Pair, directory: string): [program: string, args: string[]];
}

const CLIENTS: Readonly<Record<string, Client>> = {
  quayctl: {
    seed: async (scope, { stage }) => {
      const { env } = await quayctlNode(scope);
      const child = startProcess(process.execPath, [...quayctl(stage, 'seed'), '--no-progress'], { env });
      scope.after(async () => void (await child.kill()));
      await child.waitFor(/Seeding/);
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
  process.stdout.write(`${size} bytes, one seed, one leech, loopback\nclient        leech      MB/s\n`);
  for (let run = 0; run < Number(values.runs); run++) {
    for (const name of values.clients.split(',')) {
      const client = CLIENTS[name];
      if (client === undefined) throw new Error(`no client ${name}`);
      const seconds = await measure(client, size);
      process.stdout.write(
        `${name.padEnd(11)} ${seconds.toFixed(2).padStart(6)} s ${(size / 1e6 / seconds).toFixed(0).padStart(9)}\n`,
      );
    }
  }
}

async function measure(client: Client, size: number): Promise<number> {
  const scope = openScope();
  try {
    const pair = await openPair(scope, size);
    await client.seed(scope, pair);
    // Until a seed has hashed its file and announced itself.
    await new Promise((resolve) => setTimeout(resolve, SEED_CHECKS_MS));
    const { env } = await quayctlNode(scope);
    const [program, args] = client.leech(pair, await tempDirectory(scope, 'leech'));
    const began = performance.now();
    await mustRun(program, args, { env });
    return (performance.now() - began) / 1000;
  } finally {
    await scope.end();
  }
}

async function openPair(scope: Scope, size: number): Promise<Pair> {
  const stage = await openStage(scope, { gateway: HERE }, [size], false);
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

function start(scope: Scope, program: string, args: string[]): void {
  const child = startProcess(program, args, { env: process.env });
  scope.after(async () => void (await child.kill()));
}

await main();
