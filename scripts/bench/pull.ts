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
import { TestLayout, type BuiltImage } from '../../test/helpers/images.ts';
import type { LayerSpec } from '../../test/helpers/layers.ts';
import { mustRun, type Scope } from '../../test/helpers/processes.ts';
import { programPath } from '../../test/helpers/programs.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { installBundle } from './bundle.ts';
import { openFarNetwork } from './far-network.ts';
import { startFarRegistry } from './far-registry.ts';
import { startFarService } from './far-service.ts';
import { openScope } from './scope.ts';

const HELP = `One node pulls an image into Docker, beside \`docker pull\` of the same image from the same registry
over the same link, in turn, in one run. Prints each time and the median of the ratios of paired runs.

  scripts/bench/pull [--engines LIST] [--rates LIST] [--images LIST] [--runs 5] [--program FILE]

--engines  of debian (20.10), graphdriver, containerd (today's engine with either store); default: all that are here
--rates    what the link to the registry carries, as tc takes it, or none; default: 320mbit,1gbit,none
--images   of large (200 MiB in 4 layers), flat (1 GiB in 1 layer), many (40 layers of 2.5 MB), small (1 KB)
--runs     how often each of the two pulls each image
--program  another build of quayctl
--crowd N  fill the engine with N other images first
The contract: at most 1.02 everywhere, but for the small image: at most 0.15 s more.
Needs root, dockerd, docker-registry, ip and tc; today's engine: scripts/setup --engines.
`;

const MIB = 1024 * 1024;

interface Subject {
  readonly name: string;
  readonly reference: string;
}

interface Settings {
  readonly engines: readonly DockerdKind[];
  readonly rates: readonly string[];
  readonly images: readonly string[];
  readonly runs: number;
  readonly crowd: number;
  readonly program: string | undefined;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      engines: { type: 'string' },
      rates: { type: 'string', default: '320mbit,1gbit,none' },
      images: { type: 'string', default: 'large,flat,many,small' },
      runs: { type: 'string', default: '5' },
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
    await bench(scope, {
      engines: here.filter((kind) => wanted?.includes(kind) ?? true),
      rates: values.rates.split(','),
      images: values.images.split(','),
      runs: Number(values.runs),
      crowd: Number(values.crowd),
      program: values.program,
    });
  } finally {
    await scope.end();
  }
}

const SUBJECTS: Readonly<Record<string, { name: string; layers: () => LayerSpec[] }>> = {
  large: { name: '200 MiB in 4', layers: () => largeLayers(200) },
  flat: { name: '1 GiB in 1', layers: () => [halfRandom('flat', 1024)] },
  many: { name: '40 of 2.5 MB', layers: () => Array.from({ length: 40 }, (_, at) => smallLayer(at)) },
  small: { name: '1 KB', layers: () => [{ entries: [{ name: 'hello', content: 'x'.repeat(1024) }] }] },
};

async function bench(scope: Scope, settings: Settings): Promise<void> {
  const network = await openFarNetwork(scope, 'none');
  const registry = await startFarRegistry(scope, network);
  const layout = await TestLayout.create(await tempDirectory(scope, 'bench'));
  const subjects: Subject[] = [];
  for (const image of settings.images) {
    const subject = SUBJECTS[image];
    if (subject === undefined) throw new Error(`no image ${image}`);
    const built = await layout.addImage({ layers: subject.layers() });
    subjects.push(await push(layout, built, registry, `bench/${image}`, subject.name));
  }
  const program = settings.program ?? (await installBundle(scope));
  const service = await startFarService(scope, network, registry, program);
  // Between pulls a user keeps the cache of compiled code, as the system keeps docker's pages.
  const cache = await tempDirectory(scope, 'code');
  process.stdout.write(
    `seconds, median (least-most) of ${settings.runs} runs each in turn; load ${load()}\n\n`,
  );
  process.stdout.write(
    'engine       link      image         docker pull        quayctl            ratio  load\n',
  );
  for (const kind of settings.engines) {
    const dockerd = await startDockerd(scope, [`--insecure-registry=${registry}`], kind);
    await fill(dockerd, settings.crowd);
    for (const rate of settings.rates) {
      await network.shape(rate);
      for (const subject of subjects) {
        // The service makes the torrent, and both programs come into the page cache.
        await quayctlPull(scope, dockerd, subject, { program, service, cache });
        await forget(dockerd, subject);
        const docker: number[] = [];
        const ours: number[] = [];
        for (let run = 0; run < settings.runs; run++) {
          docker.push(await timed(() => dockerPull(dockerd, subject)));
          await forget(dockerd, subject);
          ours.push(await quayctlPull(scope, dockerd, subject, { program, service, cache }));
          await forget(dockerd, subject);
        }
        const ratio = median(ours.map((seconds, run) => seconds / (docker[run] ?? Number.NaN)));
        const columns = [kind.padEnd(12), rate.padEnd(9), subject.name.padEnd(13), show(docker).padEnd(18)];
        process.stdout.write(
          `${columns.join(' ')} ${show(ours).padEnd(18)} ${ratio.toFixed(2)}   ${load()}\n`,
        );
      }
    }
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

/** Half of it compresses, as in real images. */
function halfRandom(name: string, mebibytes: number): LayerSpec {
  const entries = Array.from({ length: mebibytes }, (_, file) => ({
    name: `${name}/file${file}`,
    content: file % 2 === 0 ? { random: MIB, seed: `${name}-${file}` } : 'compressible text\n'.repeat(58_254),
  }));
  return { entries };
}

function smallLayer(at: number): LayerSpec {
  return { entries: [{ name: `many/file${at}`, content: { random: 2_500_000, seed: `many-${at}` } }] };
}

function largeLayers(mebibytes: number): LayerSpec[] {
  return [8, 4, 2, 2].map((share, layer) => halfRandom(`layer${layer}`, Math.ceil((mebibytes * share) / 16)));
}

async function push(
  layout: TestLayout,
  image: BuiltImage,
  registry: string,
  repository: string,
  name: string,
): Promise<Subject> {
  const { pushImage } = await import('../../test/helpers/push.ts');
  await pushImage(layout, image.manifest, { url: `http://${registry}`, repository, tag: '1' });
  return { name, reference: `${registry}/${repository}:1` };
}

async function dockerPull(dockerd: TestDockerd, { reference }: Subject): Promise<void> {
  await mustRun(programPath('docker'), ['--host', dockerd.dockerHost, 'pull', '--quiet', reference]);
}

async function quayctlPull(
  scope: Scope,
  dockerd: TestDockerd,
  { reference }: Subject,
  { program, service, cache }: { program: string; service: string; cache: string },
): Promise<number> {
  const env = { DOCKER_HOST: dockerd.dockerHost, XDG_CACHE_HOME: cache };
  const node = await quayctlNode(scope, { env, program });
  const seconds = await timed(async () => {
    const { code, stderr } = await node.run([
      'docker',
      'torrent',
      'pull',
      reference,
      '--insecure',
      '--torrent-service',
      service,
      '--no-progress',
    ]);
    if (code !== 0) throw new Error(stderr);
  });
  await rm(node.home, { recursive: true, force: true });
  return seconds;
}

async function forget(dockerd: TestDockerd, { reference }: Subject): Promise<void> {
  await dockerd.docker('rmi', reference);
  await dockerd.docker('image', 'prune', '--force');
}

async function timed(work: () => Promise<void>): Promise<number> {
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
