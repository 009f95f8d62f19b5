import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeTorrent } from '../src/metainfo/metainfo.ts';
import { randomLayer, TestLayout } from '../test/helpers/images.ts';
import { quayctlNode } from '../test/helpers/quayctl.ts';
import { tempDirectory } from '../test/helpers/temp.ts';
import type { Scope } from '../test/helpers/processes.ts';
import { openScope } from './bench/scope.ts';

const MINUTES = Number(process.argv[2] ?? 10);
const LAYERS = 998;
const LAYER_BYTES = 20_000;
const CONNECTIONS_PER_SECOND = 25;
/** Of the whole time: buffers find their sizes, code is compiled. */
const WARM_UP = 0.3;
const LOOK_MS = 5000;
const MAX_MORE_DESCRIPTORS = 30;
const MAX_GROWTH = 1.15;
const SHORT_MS = 300;

interface Sample {
  readonly second: number;
  readonly megabytes: number;
  readonly descriptors: number;
}

const everything = openScope();
try {
  await run(everything);
} finally {
  await everything.end();
}

async function run(scope: Scope): Promise<void> {
  const layout = await TestLayout.create(await tempDirectory(scope, 'soak'));
  const layers = Array.from({ length: LAYERS }, (_, at) => randomLayer(LAYER_BYTES, `soak ${at}`));
  const image = await layout.addImage({ layers }, 'team/soak:1');
  const server = await quayctlNode(scope);
  const serve = server.start(['serve', '--upstream', `oci:${layout.directory}`, '--listen', '127.0.0.1:0']);
  const [url] = await serve.waitFor(/^http:\S+$/m);
  const { host } = new URL(url);

  const node = await quayctlNode(scope);
  const pulled = await node.run(['torrent', 'pull', `${host}/team/soak:1`, '--quiet']);
  if (pulled.code !== 0) throw new Error(pulled.stderr);
  const port = String(await freePort());
  const seed = node.start(['torrent', 'seed', '--lower-port', port, '--upper-port', port]);
  const [, blobs] = await seed.waitFor(/Seeding (\d+) blobs?/, 300_000);
  console.log(`${blobs} blobs are seeded; ${MINUTES} minutes of short connections`);

  const infoHashes = await Promise.all(
    image.layers.slice(0, 50).map(async ({ digest }) => {
      const answer = await fetch(`${url}/c1/torrent/team/soak/blobs/${digest}?ns=${host}&wait=30`);
      return decodeTorrent(Buffer.from(await answer.arrayBuffer())).infoHash;
    }),
  );
  const samples = await soak(seed.pid, Number(port), infoHashes);
  await seed.kill();
  judge(samples);
}

async function soak(pid: number, port: number, infoHashes: readonly string[]): Promise<Sample[]> {
  const samples: Sample[] = [];
  const started = performance.now();
  let [count, next] = [0, 0];
  for (;;) {
    const now = performance.now() - started;
    if (now > MINUTES * 60_000) break;
    if (now >= next) {
      const sample = { second: Math.round(now / 1000), ...measure(pid) };
      samples.push(sample);
      console.log(
        `${sample.second} s: ${sample.megabytes} MB, ${sample.descriptors} descriptors, ${count} connections`,
      );
      next += LOOK_MS;
    }
    // Some say nothing, some talk nonsense, most ask for a block.
    const kind = count % 10;
    const infoHash = infoHashes[count++ % infoHashes.length] ?? '';
    if (kind === 0) shortConnection(port, Buffer.alloc(0));
    else if (kind === 1) shortConnection(port, Buffer.alloc(200, 0xa5));
    else shortConnection(port, hello(infoHash));
    await sleep(1000 / CONNECTIONS_PER_SECOND);
  }
  return samples;
}

/** BEP 3: handshake, interested, a request for the first block. */
function hello(infoHash: string): Buffer {
  const peerId = Buffer.alloc(20, `-XX0000-${Math.random()}`);
  const request = Buffer.from('0000000d06000000000000000000004000', 'hex');
  return Buffer.concat([
    Buffer.from('\x13BitTorrent protocol', 'latin1'),
    Buffer.alloc(8),
    Buffer.from(infoHash, 'hex'),
    peerId,
    Buffer.from([0, 0, 0, 1, 2]),
    request,
  ]);
}

function shortConnection(port: number, bytes: Buffer): void {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
  socket.on('error', () => undefined);
  socket.resume();
  setTimeout(() => socket.destroy(), SHORT_MS * Math.random());
}

function measure(pid: number): Omit<Sample, 'second'> {
  const [, kib = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return { megabytes: Math.round(Number(kib) / 1000), descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

function judge(samples: readonly Sample[]): void {
  const warm = samples.slice(Math.floor(samples.length * WARM_UP));
  const third = Math.max(1, Math.floor(warm.length / 3));
  const [before, after] = [warm.slice(0, third), warm.slice(-third)];
  const growth = median(after, 'megabytes') / median(before, 'megabytes');
  const more = median(after, 'descriptors') - median(before, 'descriptors');
  console.log(
    `after the warm-up: memory times ${growth.toFixed(2)}, descriptors ${more >= 0 ? '+' : ''}${more}`,
  );
  if (growth > MAX_GROWTH || more > MAX_MORE_DESCRIPTORS) {
    console.error('it grows');
    process.exitCode = 1;
  }
}

function median(samples: readonly Sample[], field: 'megabytes' | 'descriptors'): number {
  return samples.map((sample) => sample[field]).toSorted((a, b) => a - b)[samples.length >> 1] ?? 0;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
