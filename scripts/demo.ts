import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseImageReference } from '../src/image/reference.ts';
import { startHttpFaultProxy, type HttpFaultProxy } from '../test/helpers/fault-proxy.ts';
import { Link } from '../test/helpers/faults.ts';
import type { RunningProcess } from '../test/helpers/processes.ts';
import { makeSampleImage, type SampleImage } from './demo-image.ts';
import type { Receipt } from '../src/pull/receipt.ts';
import { bytesOnDisk, quayctl, receiptOf, type DemoNode } from './demo-nodes.ts';
import { megabytes, Screen, table } from './demo-screen.ts';

const NODES = 3;
/** The scarce thing between a site and its registry: 160 Mbit/s for all nodes together. */
const PIPE_BYTES_PER_SECOND = 20e6;
const SAMPLE_BYTES = 320e6;
const SMALL_SAMPLE_BYTES = 40e6;
const DRAW_EVERY_MS = 150;
const NAME = 'demo/app:1.0';
/** Exit code of quayctl when there is no engine. */
const NO_ENGINE = 5;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { small: { type: 'boolean', default: false } },
});
const [wanted] = positionals;
const screen = new Screen();
const ends: (() => void | Promise<void>)[] = [];
const scope = { after: (end: () => void | Promise<void>): number => ends.push(end) };
const children = new Set<RunningProcess>();
const interruption = new AbortController();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interruption.abort();
    for (const child of children) void child.kill();
  });
}

try {
  const home = await mkdtemp(join(tmpdir(), 'quayctl-demo-'));
  ends.push(() => rm(home, { recursive: true, force: true, maxRetries: 10 }));
  if (wanted === undefined) await sampleDemo(home);
  else await ownImageDemo(home, wanted);
} catch (error) {
  if (!interruption.signal.aborted)
    screen.say(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await Promise.all([...children].map((child) => child.kill()));
  for (const end of ends.toReversed()) await end();
}
if (interruption.signal.aborted) process.exitCode = 130;

async function sampleDemo(home: string): Promise<void> {
  screen.say('Making a sample image of four layers out of files of this machine.');
  const image = await makeSampleImage(
    join(home, 'image'),
    NAME,
    values.small ? SMALL_SAMPLE_BYTES : SAMPLE_BYTES,
  );
  screen.say(`  ${image.layers.length} layers, ${megabytes(image.bytes).trim()} compressed`);

  screen.say('\nStarting the torrent service in front of it: quayctl serve --upstream oci:DIR');
  const port = await freePort();
  const link = new Link(PIPE_BYTES_PER_SECOND);
  const doors = await Promise.all(
    Array.from({ length: NODES + 1 }, () => startHttpFaultProxy(scope, `http://127.0.0.1:${port}`)),
  );
  // Nodes know the registry by the door of their pipe, so the service must know these names, too.
  const aliases = doors.flatMap(({ host }) => ['--alias', host]);
  const layout = ['--upstream', `oci:${image.directory}`, ...aliases];
  await startService(home, layout, { port });
  for (const door of doors) door.link = link;
  const [direct, ...pipes] = doors as [HttpFaultProxy, ...HttpFaultProxy[]];

  screen.say(
    `\n${NODES} nodes pull it at the same moment. Registry and nodes are joined by a thin\n` +
      `pipe that this demo makes: ${PIPE_BYTES_PER_SECOND / 1e6} MB/s for all nodes together. Between the nodes\n` +
      'there is no limit.\n',
  );
  const nodes = pipes.map((pipe, at) => startNode(home, `node ${at + 1}`, `${pipe.host}/${NAME}`, [], true));
  const receipts = await follow(nodes, image.bytes, (at) => pipes[at]?.traffic.toClient ?? 0);
  const through = pipes.reduce((sum, pipe) => sum + pipe.traffic.toClient, 0);

  screen.say('\nThe same without quayctl: each node downloads every layer through the pipe.');
  const seconds = await downloadDirectly(direct, image);
  await showReceipts(nodes, receipts);
  const slowest = Math.max(...receipts.map(({ total }) => total.seconds));
  screen.say();
  for (const line of table([
    ['all nodes done', 'seconds', 'through the pipe', 'times the image'],
    ['with quayctl', slowest.toFixed(1), megabytes(through), (through / image.bytes).toFixed(2)],
    ['each on its own', seconds.toFixed(1), megabytes(direct.traffic.toClient), NODES.toFixed(2)],
  ])) {
    screen.say(line);
  }
  await deliver(home, `${pipes[0]?.host ?? ''}/${NAME}`, nodes, image.configDigest, []);
}

async function ownImageDemo(home: string, name: string): Promise<void> {
  const { registry } = parseImageReference(name);
  const hub = registry === 'docker.io';
  const loopback = /^(?:localhost|127\.|\[::1\])/.test(registry);
  const upstream = hub ? 'https://registry-1.docker.io' : `${loopback ? 'http' : 'https'}://${registry}`;
  screen.say(`Starting the torrent service in front of ${registry}: quayctl serve --upstream ${upstream}`);
  const service = await startService(home, ['--upstream', upstream, '--alias', registry], { ownHome: false });
  screen.say(`\n${NODES} nodes pull ${name} at the same moment.\n`);
  const flags = ['--torrent-service', service];
  const nodes = Array.from({ length: NODES }, (_, at) =>
    startNode(home, `node ${at + 1}`, name, flags, false),
  );
  const receipts = await follow(nodes, undefined, () => undefined);
  await showReceipts(nodes, receipts);
  const registryBytes = receipts.reduce((sum, { total }) => sum + total.fromRegistry, 0);
  const size = receipts[0]?.total.size ?? 0;
  screen.say(
    `\n  The registry was asked for ${(registryBytes / size).toFixed(2)} times the image; alone, the nodes ask for 3.00.`,
  );
  await deliver(home, name, nodes, undefined, flags);
}

/** A port that nobody listens on at this moment. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function startService(
  home: string,
  args: readonly string[],
  { port = 0, ownHome = true }: { readonly port?: number; readonly ownHome?: boolean },
): Promise<string> {
  const command = ['serve', '--listen', `127.0.0.1:${port}`, ...args];
  const service = quayctl(join(home, 'service'), command, ownHome);
  children.add(service);
  const [url] = await service.waitFor(/^http:\S+$/m);
  screen.say(`  listening on ${url}`);
  return url;
}

/** A node of its own store and process; it goes on seeding after its pull, as a node in a fleet does. */
function startNode(
  home: string,
  name: string,
  image: string,
  flags: readonly string[],
  ownHome: boolean,
): DemoNode {
  const folder = join(home, name.replace(' ', '-'));
  const args = ['torrent', 'pull', image, '--json', '--no-progress', '--seed-after', '10m', ...flags];
  const node = quayctl(folder, args, ownHome);
  children.add(node);
  return { name, store: join(folder, 'store'), process: node };
}

/** Draws the bars until every node has its receipt, then ends the nodes' seeding. */
async function follow(
  nodes: readonly DemoNode[],
  total: number | undefined,
  fromRegistry: (at: number) => number | undefined,
): Promise<Receipt[]> {
  const done = new Set<DemoNode>();
  const all = Promise.all(
    nodes.map(async (node) => {
      const receipt = await receiptOf(node);
      done.add(node);
      return receipt;
    }),
  );
  const over = all.then(
    () => true,
    () => true,
  );
  const draw = async (last: boolean): Promise<void> => {
    const disk = await Promise.all(nodes.map(({ store }) => bytesOnDisk(store)));
    screen.draw(
      nodes.map((node, at) => ({
        name: node.name,
        received: Math.min(disk[at] ?? 0, total ?? Infinity),
        total,
        fromRegistry: fromRegistry(at),
        done: done.has(node),
      })),
      last,
    );
  };
  while (!(await Promise.race([over, sleep(DRAW_EVERY_MS, false)]))) await draw(false);
  const receipts = await all;
  await draw(true);
  await Promise.all(nodes.map(({ process: node }) => node.kill('SIGINT')));
  return receipts;
}

async function downloadDirectly(door: HttpFaultProxy, image: SampleImage): Promise<number> {
  const begun = performance.now();
  const [repository] = NAME.split(':');
  const node = async (): Promise<void> => {
    for (const { digest } of image.layers) {
      const answer = await fetch(`${door.url}/v2/${repository}/blobs/${digest}`);
      if (!answer.ok || answer.body === null) throw new Error(`the service answers ${answer.status}`);
      for await (const _ of answer.body) interruption.signal.throwIfAborted();
    }
  };
  await Promise.all(Array.from({ length: NODES }, node));
  return (performance.now() - begun) / 1000;
}

async function showReceipts(nodes: readonly DemoNode[], receipts: readonly Receipt[]): Promise<void> {
  screen.say(
    "\nThe receipts. Digests: blobs in the node's store that the demo itself has\nhashed once more.\n",
  );
  const verified = await Promise.all(nodes.map(({ store }) => verifyBlobs(store)));
  const rows = receipts.map(({ total }, at) => [
    `node ${at + 1}`,
    megabytes(total.size),
    megabytes(total.fromPeers),
    megabytes(total.fromRegistry),
    `${Math.round((total.fromPeers / total.size) * 100)} %`,
    `${verified[at]} verified`,
    total.seconds.toFixed(1),
  ]);
  const head = ['', 'image', 'from peers', 'from registry', 'peers', 'digests', 'seconds'];
  for (const line of table([head, ...rows])) screen.say(line);
}

/** Into Docker where one answers; else as an OCI layout whose every blob is hashed once more, by the demo itself. */
async function deliver(
  home: string,
  name: string,
  nodes: readonly DemoNode[],
  configDigest: string | undefined,
  flags: readonly string[],
): Promise<void> {
  const folder = join(home, 'node-1');
  const common = ['--json', '--no-progress', ...flags];
  const docker = quayctl(folder, ['docker', 'torrent', 'pull', name, ...common], configDigest !== undefined);
  children.add(docker);
  const { code } = await docker.exited;
  if (code === 0) {
    screen.say(`\nLoaded into Docker from the store of ${nodes[0]?.name}; docker images shows ${name}.`);
    if (configDigest !== undefined)
      screen.say(`Its image ID is ${configDigest}. To remove it: docker rmi ${name}`);
    return;
  }
  if (code !== NO_ENGINE) throw new Error(`loading into Docker: ${docker.stderr()}`);
  const output = join(home, 'layout');
  const pull = quayctl(
    folder,
    ['torrent', 'pull', name, '--output', output, ...common],
    configDigest !== undefined,
  );
  children.add(pull);
  if ((await pull.exited).code !== 0) throw new Error(`writing the OCI layout: ${pull.stderr()}`);
  const blobs = await verifyBlobs(output);
  screen.say(
    `\nNo Docker answers here, so ${nodes[0]?.name} wrote an OCI image layout instead;\n` +
      `its ${blobs} blobs have the digests that they are named by.`,
  );
}

/** Hashes every blob of an OCI layout; gives their number. @throws when one is not what its name says */
async function verifyBlobs(layout: string): Promise<number> {
  const folder = join(layout, 'blobs/sha256');
  const blobs = await readdir(folder);
  for (const blob of blobs) await checkBlob(join(folder, blob), blob);
  return blobs.length;
}

async function checkBlob(path: string, hex: string): Promise<void> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  if (hash.digest('hex') !== hex) throw new Error(`blob ${hex} does not have its digest`);
}
