import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  DOCKERD_KINDS,
  skipWithoutDockerd,
  startDockerd,
  type DockerdKind,
  type TestDockerd,
} from '../../test/helpers/dockerd.ts';
import { mustRun, type Scope } from '../../test/helpers/processes.ts';
import { programPath } from '../../test/helpers/programs.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { installBundle } from './bundle.ts';
import { openFarNetwork } from './far-network.ts';
import { startFarRegistry } from './far-registry.ts';
import { startFarService } from './far-service.ts';
import { pushSubject, subjectOf, type Subject } from './pull-images.ts';
import { openScope } from './scope.ts';

const HELP = `One node pulls an image into Docker, beside \`docker pull\` of the same image from the same registry
over the same link, in turn, in one run. Prints each time and the median of the ratios of paired runs.

  scripts/bench/pull [--engines LIST] [--rates LIST] [--images LIST] [--runs 5] [--contract] [--minutes N]

--engines  of debian (20.10), graphdriver, containerd (today's engine with either store); default: all that are here
--rates    what the link to the registry carries, as tc takes it, or none; default: 320mbit,1gbit,none
--images   of large (200 MiB in 4 layers), flat (1 GiB in 1 layer), many (40 layers of 2.5 MB), small (1 KB)
--runs     how often each of the two pulls each image
--contract fails where a row is over the contract: at most 1.02 times docker pull's time, for the small image at most
           0.15 s more; also where a row was left out
--minutes  begins no row that will not end in time, and says which ones it left out
--keep DIR keeps images and registry there for the next run: making them takes a minute
--program  another build of quayctl
--crowd N  fill the engine with N other images first
Needs root, dockerd, docker-registry, ip and tc; today's engine: scripts/setup --engines.
`;

interface Settings {
  readonly engines: readonly DockerdKind[];
  readonly rates: readonly string[];
  readonly images: readonly string[];
  readonly runs: number;
  readonly minutes: number;
  readonly keep: string | undefined;
  readonly crowd: number;
  readonly program: string | undefined;
}

/** What each pull by quayctl is started with. */
interface Client {
  readonly program: string;
  readonly service: string;
  /** Of compiled code: users keep it between pulls, as the system keeps docker's pages. */
  readonly cache: string;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      engines: { type: 'string' },
      rates: { type: 'string', default: '320mbit,1gbit,none' },
      images: { type: 'string', default: 'large,flat,many,small' },
      runs: { type: 'string', default: '5' },
      contract: { type: 'boolean', default: false },
      minutes: { type: 'string', default: 'Infinity' },
      keep: { type: 'string' },
      crowd: { type: 'string', default: '0' },
      program: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const here = DOCKERD_KINDS.filter((kind) => skipWithoutDockerd(kind) === false);
  const wanted = values.engines?.split(',');
  const scope = openScope();
  try {
    const broken = await bench(scope, {
      engines: here.filter((kind) => wanted?.includes(kind) ?? true),
      rates: values.rates.split(','),
      images: values.images.split(','),
      runs: Number(values.runs),
      minutes: Number(values.minutes),
      keep: values.keep,
      crowd: Number(values.crowd),
      program: values.program,
    });
    if (broken.length > 0) process.stdout.write(`\nover the contract, or left out:\n${broken.join('\n')}\n`);
    if (values.contract && broken.length > 0) process.exitCode = 1;
  } finally {
    await scope.end();
  }
}

/** @returns the rows that are over the contract, or were left out */
async function bench(scope: Scope, settings: Settings): Promise<string[]> {
  const network = await openFarNetwork(scope, 'none');
  const keep = settings.keep ?? (await tempDirectory(scope, 'bench'));
  const registry = await startFarRegistry(scope, network, join(keep, 'storage'));
  const subjects = settings.images.map(subjectOf);
  for (const subject of subjects) await pushSubject(subject, keep, registry);
  const program = settings.program ?? (await installBundle(scope));
  const service = await startFarService(scope, network, registry, program);
  const client = { program, service, cache: await tempDirectory(scope, 'code') };
  process.stdout.write(
    `seconds, median (least-most) of ${settings.runs} runs each in turn; load ${load()}\n\n` +
      'engine       link      image         docker pull        quayctl            ratio  more    load\n',
  );
  const broken: string[] = [];
  const end = performance.now() + settings.minutes * 60_000;
  for (const kind of settings.engines) {
    const dockerd = await startDockerd(scope, [`--insecure-registry=${registry}`], kind);
    await fill(dockerd, settings.crowd);
    for (const rate of settings.rates) {
      await network.shape(rate);
      for (const subject of subjects) {
        const pair = new Pair(scope, dockerd, `${registry}/${subject.repository}:1`, client);
        // The service makes the torrent, and both programs come into the page cache.
        const first = await pair.run(true);
        const title = [kind.padEnd(12), rate.padEnd(9), subject.title.padEnd(13)].join(' ');
        if (performance.now() + (first.docker + first.ours) * settings.runs * 1000 > end) {
          broken.push(`${title} left out`);
          continue;
        }
        const row = new Row(subject);
        for (let run = 0; run < settings.runs; run++) row.add(await pair.run(run % 2 === 0));
        process.stdout.write(`${title} ${row.text()}   ${load()}\n`);
        if (!row.holds()) broken.push(`${title} ${row.text()}`);
      }
    }
  }
  return broken;
}

interface Seconds {
  readonly docker: number;
  readonly ours: number;
}

/** The two pulls of one image into one engine, each from nothing. */
class Pair {
  readonly #scope: Scope;
  readonly #dockerd: TestDockerd;
  readonly #reference: string;
  readonly #client: Client;

  constructor(scope: Scope, dockerd: TestDockerd, reference: string, client: Client) {
    this.#scope = scope;
    this.#dockerd = dockerd;
    this.#reference = reference;
    this.#client = client;
  }

  async run(dockerFirst: boolean): Promise<Seconds> {
    let docker = dockerFirst ? await this.#docker() : 0;
    const ours = await this.#ours();
    if (!dockerFirst) docker = await this.#docker();
    return { docker, ours };
  }

  async #docker(): Promise<number> {
    const args = ['--host', this.#dockerd.dockerHost, 'pull', '--quiet', this.#reference];
    const seconds = await timed(() => mustRun(programPath('docker'), args));
    await this.#forget();
    return seconds;
  }

  async #ours(): Promise<number> {
    const { program, service, cache } = this.#client;
    const env = { DOCKER_HOST: this.#dockerd.dockerHost, XDG_CACHE_HOME: cache };
    const node = await quayctlNode(this.#scope, { env, program });
    const args = ['docker', 'torrent', 'pull', this.#reference, '--insecure', '--no-progress'];
    const seconds = await timed(async () => {
      const { code, stderr } = await node.run([...args, '--torrent-service', service]);
      if (code !== 0) throw new Error(stderr);
    });
    await rm(node.home, { recursive: true, force: true });
    await this.#forget();
    return seconds;
  }

  async #forget(): Promise<void> {
    await this.#dockerd.docker('rmi', this.#reference);
    await this.#dockerd.docker('image', 'prune', '--force');
    // What one pull has left for the disk to write would hold up the next one, which flushes its blobs.
    await mustRun('sync', []);
  }
}

/** Paired runs of one image. */
class Row {
  readonly #subject: Subject;
  readonly #runs: Seconds[] = [];

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  add(run: Seconds): void {
    this.#runs.push(run);
  }

  text(): string {
    const docker = show(this.#runs.map((run) => run.docker));
    const ours = show(this.#runs.map((run) => run.ours));
    return `${docker.padEnd(18)} ${ours.padEnd(18)} ${this.#ratio().toFixed(2)}  ${this.#more().toFixed(2).padStart(5)}`;
  }

  holds(): boolean {
    const { limit } = this.#subject;
    return 'ratio' in limit ? this.#ratio() <= limit.ratio : this.#more() <= limit.seconds;
  }

  #ratio(): number {
    return median(this.#runs.map(({ docker, ours }) => ours / docker));
  }

  #more(): number {
    return median(this.#runs.map(({ docker, ours }) => ours - docker));
  }
}

/** Other images, each with a layer of its own. */
async function fill(dockerd: TestDockerd, count: number): Promise<void> {
  if (count === 0) return;
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-crowd-'));
  for (let at = 0; at < count; at++) {
    await writeFile(join(directory, 'number'), String(at));
    await mustRun('tar', ['-cf', join(directory, 'layer.tar'), '-C', directory, 'number']);
    const args = ['--host', dockerd.dockerHost, 'import', join(directory, 'layer.tar'), `crowd:${at}`];
    await mustRun(programPath('docker'), args);
  }
  await rm(directory, { recursive: true });
}

function load(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function show(values: readonly number[]): string {
  return `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})`;
}

await main();
