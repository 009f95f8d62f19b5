import { readFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { parseSize } from '../../src/base/units.ts';
import { startContainerd, type TestContainerd } from '../../test/helpers/containerd.ts';
import { TestLayout } from '../../test/helpers/images.ts';
import { startProcess, type RunningProcess, type Scope } from '../../test/helpers/processes.ts';
import { quayctlNode } from '../../test/helpers/quayctl.ts';
import { tempDirectory } from '../../test/helpers/temp.ts';
import { installBundle } from './bundle.ts';
import { openLan, type Lan, type LanHost } from './lan.ts';
import { openScope } from './scope.ts';
import { randomLayer, startRegistryAt } from './swarm-stage.ts';

const HELP = `containerds in network namespaces, registry and torrent service behind one gateway, one image of one layer,
pulled by crictl: through quayctl's mirror, and without it. A node's time is that of its \`crictl pull\`, unpacking included.

  scripts/bench/mirror [--nodes 8] [--rate 60mbit] [--size 128MiB]       all pull at once
  scripts/bench/mirror --alone [--rate 60mbit] [--size 128MiB] [--runs 5]   one node, paired runs, a new image for each

Needs root, ip, tc, and what scripts/setup --engines builds.
`;

const REPOSITORY = 'bench/image';
const MIRROR = 'http://127.0.0.1:7071';

/** A node: its engine, and the mirror beside it, where there is one. */
interface Node {
  readonly engine: TestContainerd;
  readonly mirror: RunningProcess | undefined;
}

/** What stands behind the gateway: HOST:PORT of the registry, and the tags that it holds. */
interface Stage {
  readonly registry: string;
  readonly service: string;
  readonly quayctl: string;
  readonly tags: readonly string[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '8' },
      rate: { type: 'string', default: '60mbit' },
      size: { type: 'string', default: '128MiB' },
      runs: { type: 'string', default: '5' },
      alone: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const size = parseSize(values.size.replace(/iB$/, 'i'));
  print(`${values.rate} gateway, ${size} bytes; ${cpus().length} cores, load ${load()}`);
  if (values.alone) await alone(values.rate, size, Number(values.runs));
  else await together(Number(values.nodes), values.rate, size);
}

/** All nodes at once, with and without the mirror, each in a network of its own. */
async function together(count: number, rate: string, size: number): Promise<void> {
  const bound = (size * 8) / bitsPerSecond(rate);
  print(`${count} nodes; the layer once through the gateway takes ${bound.toFixed(1)} s`);
  print('way              median     last   last/bound   gateway/layer   rss of a mirror   load after');
  for (const isMirrored of [true, false]) {
    const scope = openScope();
    try {
      const lan = await openLan(scope, count, rate);
      const stage = await openStage(scope, lan, size, 1);
      const nodes = await Promise.all(lan.nodes.map((host) => openNode(scope, host, stage, isMirrored)));
      const before = await lan.throughGateway();
      const seconds = (await Promise.all(nodes.map((node) => pull(node, stage, '0')))).toSorted(
        (a, b) => a - b,
      );
      const gateway = (await lan.throughGateway()) - before;
      const rss = Math.max(0, ...(await Promise.all(nodes.map(largestRss))));
      const last = seconds.at(-1) ?? Number.NaN;
      print(
        [
          (isMirrored ? 'quayctl mirror' : 'no mirror').padEnd(14),
          `${median(seconds).toFixed(1)} s`.padStart(8),
          `${last.toFixed(1)} s`.padStart(8),
          (last / bound).toFixed(2).padStart(12),
          (gateway / size).toFixed(3).padStart(15),
          `${Math.round(rss / 1e6)} MB`.padStart(17),
          load().padStart(12),
        ].join(' '),
      );
    } finally {
      await scope.end();
    }
  }
}

/** One node: through the mirror and without it in turn, so that both meet the same load. */
async function alone(rate: string, size: number, runs: number): Promise<void> {
  const scope = openScope();
  try {
    const lan = await openLan(scope, 2, rate);
    const stage = await openStage(scope, lan, size, 2 * runs);
    const [first, second] = lan.nodes;
    if (first === undefined || second === undefined) throw new Error('no nodes');
    const mirrored = await openNode(scope, first, stage, true);
    const direct = await openNode(scope, second, stage, false);
    const ratios: number[] = [];
    print('run   mirror   direct   ratio   load');
    for (let run = 0; run < runs; run++) {
      const ours = await pull(mirrored, stage, `${2 * run}`);
      const theirs = await pull(direct, stage, `${2 * run + 1}`);
      ratios.push(ours / theirs);
      print(
        `${String(run).padEnd(3)} ${ours.toFixed(2).padStart(6)} s ${theirs.toFixed(2).padStart(6)} s ${(ours / theirs).toFixed(3).padStart(7)}   ${load()}`,
      );
    }
    print(
      `median ${median(ratios).toFixed(3)}; largest rss ${Math.round((await largestRss(mirrored)) / 1e6)} MB`,
    );
  } finally {
    await scope.end();
  }
}

/** A real registry with `count` images, and the service in front of it, both behind the gateway. */
async function openStage(scope: Scope, { gateway }: Lan, size: number, count: number): Promise<Stage> {
  const layout = await TestLayout.create(await tempDirectory(scope, 'mirror'));
  const tags = Array.from({ length: count }, (_, at) => `${at}`);
  const images = await Promise.all(tags.map(() => layout.addImage({ layers: [randomLayer(size)] })));
  const manifests = Object.fromEntries(images.map(({ manifest }, at) => [`${at}`, manifest]));
  const registry = await startRegistryAt(scope, gateway, layout, manifests, REPOSITORY);
  const listen = `${gateway.address}:7070`;
  const { env } = await quayctlNode(scope);
  const quayctl = await installBundle(scope);
  const serve = [quayctl, 'serve', '--upstream', `http://${registry}`, '--insecure', '--listen', listen];
  const service = startProcess(...gateway.inside(process.execPath, serve), { env });
  scope.after(async () => void (await service.kill()));
  await service.waitFor(/http:\/\//);
  return { registry, service: `http://${listen}`, quayctl, tags };
}

async function openNode(scope: Scope, host: LanHost, stage: Stage, isMirrored: boolean): Promise<Node> {
  const engine = await startContainerd(scope, 'current', undefined, host.inside);
  // plain HTTP, as the registry of this stage speaks nothing else
  const upstream = `server = "http://${stage.registry}"\n`;
  if (!isMirrored) {
    await engine.useMirror(stage.registry, upstream);
    return { engine, mirror: undefined };
  }
  const { env } = await quayctlNode(scope);
  const args = [
    'mirror',
    '--registry',
    stage.registry,
    '--torrent-service',
    stage.service,
    '--insecure',
    '--plain',
  ];
  const mirror = startProcess(...host.inside(process.execPath, [stage.quayctl, ...args]), { env });
  scope.after(async () => void (await mirror.kill()));
  await mirror.waitFor(/127\.0\.0\.1:7071/);
  await engine.useMirror(
    stage.registry,
    `${upstream}[host."${MIRROR}"]\n  capabilities = ["pull", "resolve"]\n`,
  );
  return { engine, mirror };
}

/** @returns seconds */
async function pull({ engine }: Node, { registry }: Stage, tag: string): Promise<number> {
  const begun = performance.now();
  const { code, stderr } = await engine.crictl('pull', `${registry}/${REPOSITORY}:${tag}`);
  if (code !== 0) throw new Error(`crictl pull: exit ${code}\n${stderr}`);
  return (performance.now() - begun) / 1000;
}

/** Bytes: the most that the mirror has had resident so far. */
async function largestRss({ mirror }: Node): Promise<number> {
  if (mirror === undefined) return 0;
  const status = await readFile(`/proc/${mirror.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

function bitsPerSecond(rate: string): number {
  return Number.parseFloat(rate) * (rate.endsWith('gbit') ? 1e9 : 1e6);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function load(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
