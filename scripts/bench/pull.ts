import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { startDockerd, type TestDockerd } from '../../test/helpers/dockerd.ts';
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
over the same link, in turn, in one run. Prints each time and the ratio of the medians.

  scripts/bench/pull [--rate 320mbit] [--runs 3] [--size MIB]

--rate   what the link to the registry carries (320mbit is 40 MB/s)
--runs   how often each of the two pulls each image
--size   of the large image, MiB before compression, in 4 layers; the small one has 1 KB
Needs root, dockerd, docker-registry, ip and tc.
`;

interface Subject {
  readonly name: string;
  readonly reference: string;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rate: { type: 'string', default: '320mbit' },
      runs: { type: 'string', default: '3' },
      size: { type: 'string', default: '200' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const scope = openScope();
  try {
    await bench(scope, values.rate, Number(values.runs), Number(values.size));
  } finally {
    await scope.end();
  }
}

async function bench(scope: Scope, rate: string, runs: number, sizeMiB: number): Promise<void> {
  const network = await openFarNetwork(scope, rate);
  const registry = await startFarRegistry(scope, network);
  const layout = await TestLayout.create(await tempDirectory(scope, 'bench'));
  const subjects = [
    await push(
      layout,
      await layout.addImage({ layers: largeLayers(sizeMiB) }),
      registry,
      'bench/large',
      `${sizeMiB} MiB, 4 layers`,
    ),
    await push(
      layout,
      await layout.addImage({ layers: [{ entries: [{ name: 'hello', content: 'x'.repeat(1024) }] }] }),
      registry,
      'bench/small',
      '1 KB',
    ),
  ];
  const dockerd = await startDockerd(scope, [`--insecure-registry=${registry}`]);
  const program = await installBundle(scope);
  const service = await startFarService(scope, network, registry, program);
  // Between pulls a user keeps the cache of compiled code, as the system keeps docker's pages.
  const cache = await tempDirectory(scope, 'code');
  process.stdout.write(`link ${rate}; seconds, ${runs} runs each in turn\n\n`);
  process.stdout.write('image                    docker pull        quayctl            ratio\n');
  for (const subject of subjects) {
    const docker: number[] = [];
    const ours: number[] = [];
    for (let run = 0; run < runs; run++) {
      docker.push(await timed(() => dockerPull(dockerd, subject)));
      await forget(dockerd);
      ours.push(await quayctlPull(scope, dockerd, subject, { program, service, cache }));
      await forget(dockerd);
    }
    const ratio = median(ours) / median(docker);
    process.stdout.write(
      `${subject.name.padEnd(24)} ${show(docker).padEnd(18)} ${show(ours).padEnd(18)} ${ratio.toFixed(2)}\n`,
    );
  }
}

/** Half of it compresses, as in real images. */
function largeLayers(sizeMiB: number): LayerSpec[] {
  return [8, 4, 2, 2].map((share, layer) => {
    const files = Math.ceil((sizeMiB * share) / 16);
    return {
      entries: Array.from({ length: files }, (_, file) => ({
        name: `layer${layer}/file${file}`,
        content:
          file % 2 === 0
            ? { random: 1 << 20, seed: `${layer}-${file}` }
            : 'compressible text\n'.repeat(58_254),
      })),
    };
  });
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

async function forget(dockerd: TestDockerd): Promise<void> {
  await dockerd.docker('system', 'prune', '--all', '--force');
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
