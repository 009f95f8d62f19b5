import { join } from 'node:path';
import { type Scope } from '../../test/helpers/processes.ts';
import { programPath } from '../../test/helpers/programs.ts';
import { openLan, type Lan, type LanHost } from './lan.ts';
import { LIARS, pullBesideLiar } from './liar-pull.ts';
import { CLIENTS, type Client } from './swarm-clients.ts';
import { openStage, runNode, seedOn, type NodeRun, type Stage } from './swarm-stage.ts';

/** One figure of a row, and what it must not exceed. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly most: number;
  readonly unit: 'times' | 'seconds' | 'percent';
  /** What it was made of, for people. */
  readonly from: string;
}

/** @param runs how many pairs a median is taken of */
export type Row = (scope: Scope, runs: number) => AsyncIterable<Figure>;

const KB = 1000;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** Of a pull beside the direct one. */
const NEVER_SLOWER = 1.05;
/** Small blobs may take so much longer in all. Seconds. */
const SMALL_EXTRA = 0.15;
const SMALL = 1 * MIB;
const PIPE = 60e6 / 8;
const PLACE = { side: 'registry', cold: false, hasRegistry: true } as const;

const skopeo: Client = ({ image, directory }) => [
  programPath('skopeo'),
  ['copy', '--quiet', '--src-tls-verify=false', `docker://${image}`, `dir:${join(directory, 'image')}`],
];

/** As a user starts it, with the options of the row. */
function pull(...options: string[]): Client {
  const plain = CLIENTS['quayctl'];
  if (plain === undefined) throw new Error('no quayctl');
  return (task) => {
    const [program, args] = plain(task);
    return [program, [...args, ...options]];
  };
}

/** In turn, so that what else the machine does meets both. */
async function pairs(
  scope: Scope,
  node: LanHost,
  stage: Stage & { image: string },
  runs: number,
): Promise<{ ours: number[]; direct: number[] }> {
  const [ours, direct]: [number[], number[]] = [[], []];
  for (let run = 0; run < runs; run++) {
    direct.push((await runNode(scope, node, skopeo, stage)).seconds);
    ours.push((await runNode(scope, node, pull(), stage)).seconds);
  }
  return { ours, direct };
}

function compared(
  what: string,
  { ours, direct }: { ours: number[]; direct: number[] },
  size: number,
): Figure {
  const from = `${median(ours).toFixed(2)} s, skopeo ${median(direct).toFixed(2)} s`;
  const both = ours.map((seconds, at) => ({ seconds, beside: direct[at] ?? NaN }));
  if (size < SMALL) {
    const value = median(both.map(({ seconds, beside }) => seconds - beside));
    return { what, value, most: SMALL_EXTRA, unit: 'seconds', from };
  }
  const value = median(both.map(({ seconds, beside }) => seconds / beside));
  return { what, value, most: NEVER_SLOWER, unit: 'times', from };
}

/** An image of these layers at a docker-registry behind the gateway, and a service beside it. */
async function openRegistry(scope: Scope, lan: Lan, layers: readonly number[]): Promise<Stage> {
  const stage = await openStage(scope, lan, layers, PLACE);
  return { ...stage, image: stage.registryImage ?? stage.image };
}

function alone(rate: string, sizes: readonly number[]): Row {
  return async function* (scope, runs) {
    for (const size of sizes) {
      const lan = await openLan(scope, 1, rate);
      const stage = await openRegistry(scope, lan, [size]);
      yield compared(`one node, ${shown(size)}, ${rate}`, await pairs(scope, only(lan), stage, runs), size);
    }
  };
}

function slowSeed(rate: number, size: number): Row {
  return async function* (scope, runs) {
    const lan = await openLan(scope, 2, '60mbit');
    const [seed, node] = lan.nodes as [LanHost, LanHost];
    const stage = await openRegistry(scope, lan, [size]);
    await seedOn(scope, seed, stage, ['--upload-rate', String(rate)]);
    const what = `beside a seed of ${rate} kB/s, ${shown(size)}, 60mbit`;
    yield compared(what, await pairs(scope, node, stage, runs), size);
  };
}

/** Three nodes that may take 3 MB/s each. */
const limits: Row = async function* (scope, runs) {
  const [size, rate] = [32 * MIB, 3000];
  const [seconds, gateway, wasted]: [number[], number[], number[]] = [[], [], []];
  for (let run = 0; run < runs; run++) {
    const lan = await openLan(scope, 3, '1gbit');
    const stage = await openRegistry(scope, lan, [size]);
    const before = await lan.throughGateway();
    const client = pull('--download-rate', String(rate));
    const ends = await Promise.all(lan.nodes.map((node) => runNode(scope, node, client, stage)));
    gateway.push(((await lan.throughGateway()) - before) / size);
    seconds.push(Math.max(...ends.map((end) => end.seconds)) / (size / (rate * KB)));
    wasted.push(Math.max(...ends.map((end) => (100 * wastedBy(end)) / size)));
  }
  const what = '3 nodes with --download-rate 3000, 32 MiB';
  const from = `${runs} runs`;
  yield { what: `${what}: time`, value: median(seconds), most: NEVER_SLOWER, unit: 'times', from };
  yield { what: `${what}: from the registry`, value: median(gateway), most: 1.05, unit: 'times', from };
  yield { what: `${what}: wasted`, value: median(wasted), most: 1, unit: 'percent', from };
};

const liar: Row = async function* (_scope, runs) {
  const [size, rate] = [16 * MIB, 8 * MIB];
  const times = new Map<string, number[]>();
  for (let run = 0; run < runs; run++) {
    for (const [name, behaviour] of Object.entries(LIARS)) {
      const seconds = await pullBesideLiar(size, rate, behaviour);
      times.set(name, [...(times.get(name) ?? []), seconds]);
    }
  }
  const [[, base] = ['', []], ...rest] = times;
  for (const [name, seconds] of rest) {
    const from = `${median(seconds).toFixed(2)} s, without ${median(base).toFixed(2)} s`;
    const value = median(seconds) / median(base);
    yield { what: `16 MiB from three seeds ${name}`, value, most: 1.1, unit: 'times', from };
  }
};

function crowd(service: 'registry' | 'site', cold: boolean, layers: readonly number[]): Row {
  return async function* (scope, runs) {
    const size = layers.reduce((sum, layer) => sum + layer, 0);
    const [seconds, gateway]: [number[], number[]] = [[], []];
    for (let run = 0; run < runs; run++) {
      const lan = await openLan(scope, service === 'site' ? 9 : 8, '60mbit');
      const nodes = lan.nodes.slice(0, 8);
      const stage = await openStage(scope, lan, layers, { side: service, cold }, lan.nodes.at(-1));
      const before = await lan.throughGateway();
      const ends = await Promise.all(nodes.map((node) => runNode(scope, node, pull(), stage)));
      gateway.push(((await lan.throughGateway()) - before) / size);
      seconds.push(Math.max(...ends.map((end) => end.seconds)) / (size / PIPE));
      await Promise.all(lan.nodes.map((node) => node.silence()));
    }
    const many = layers.length === 1 ? '' : `${layers.length} layers, `;
    const what = `8 nodes, ${many}${shown(size)}, 60mbit, service at the ${service}${cold ? ', cold' : ''}`;
    const from = `${runs} runs`;
    yield { what: `${what}: last node / limit`, value: median(seconds), most: 1.12, unit: 'times', from };
    yield { what: `${what}: through the gateway`, value: median(gateway), most: 1.02, unit: 'times', from };
  };
}

/** A node that comes when seven have the blob. */
const late: Row = async function* (scope, runs) {
  const size = 128 * MIB;
  const lan = await openLan(scope, 3, 'none');
  const [node, ...seeds] = lan.nodes as [LanHost, ...LanHost[]];
  const stage = await openStage(scope, lan, [size]);
  await Promise.all(seeds.map((seed) => seedOn(scope, seed, stage)));
  const seconds: number[] = [];
  for (let run = 0; run < runs; run++) seconds.push((await runNode(scope, node, pull(), stage)).seconds);
  const from = `${runs} runs`;
  yield {
    what: `a late node, 2 seeds, ${shown(size)}`,
    value: median(seconds),
    most: 0.6,
    unit: 'seconds',
    from,
  };
};

/** Many layers that are small. */
const many: Row = async function* (scope, runs) {
  const lan = await openLan(scope, 1, '1gbit');
  const stage = await openRegistry(scope, lan, Array<number>(200).fill(100 * KB));
  const figure = compared('200 layers of 100 kB, 1gbit', await pairs(scope, only(lan), stage, runs), SMALL);
  yield { ...figure, most: 1 };
};

/** By name, in the order in which they run. */
export const ROWS: Readonly<Record<string, Row>> = {
  'alone-60': alone('60mbit', [KB, MIB, 16 * MIB, 128 * MIB]),
  'alone-60-long': alone('60mbit', [2 * GIB]),
  'alone-1000': alone('1gbit', [KB, MIB, 16 * MIB, 128 * MIB, 2 * GIB]),
  'alone-none': alone('none', [KB, MIB, 16 * MIB, 128 * MIB, 2 * GIB]),
  'slow-seed': slowSeed(2000, 80 * MIB),
  'slowest-seed': slowSeed(100, 80 * MIB),
  limits,
  liar,
  crowd: crowd('registry', false, [128 * MIB]),
  'crowd-cold': crowd('registry', true, [128 * MIB]),
  'crowd-site': crowd('site', true, [128 * MIB]),
  ten: crowd('registry', false, Array<number>(10).fill(12 * MIB)),
  late,
  many,
};

function wastedBy({ stdout }: NodeRun): number {
  return Number(/"wasted":(\d+)/.exec(stdout)?.[1] ?? NaN);
}

function only({ nodes: [node] }: Lan): LanHost {
  if (node === undefined) throw new Error('no node');
  return node;
}

function shown(bytes: number): string {
  if (bytes < MIB) return `${bytes / KB} kB`;
  return bytes < GIB ? `${bytes / MIB} MiB` : `${bytes / GIB} GiB`;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}
