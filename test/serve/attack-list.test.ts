import assert from 'node:assert/strict';
import { mkdtemp, readFile, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { TestLayout } from '../helpers/images.ts';
import { memoryLimit, peakMemory } from '../helpers/memory-limit.ts';
import { openNeighbour, skipWithoutNeighbour, type Neighbour } from '../helpers/neighbour.ts';
import { mustRun, type RunningProcess } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage, pushManifest } from '../helpers/push.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';

const UNIT = join(import.meta.dirname, '../../scripts/deploy/quayctl-serve.service');
const LAYER = 8_000_000;
const TAGS = Array.from({ length: 110 }, (_, at) => `t${at}`);
/** Of the data directory: too small for a squashed image. */
const DISK = '12m';
const PROBES = 20;

interface Attacked {
  readonly url: string;
  readonly process: RunningProcess;
  readonly neighbour: Neighbour;
  readonly layer: string;
  /** Of the whole upstream. */
  readonly slowDown: () => void;
}

test(
  'under the memory of the unit that is shipped the service outlives the whole attack list, and answers meanwhile',
  { skip: skipWithoutNeighbour() || skipWithout('docker-registry'), timeout: 180_000 },
  async (t) => {
    const limit = await memoryOfUnit();
    const here = await start(t, limit);
    const { neighbour, url, layer } = here;
    const announce = await announcePath(here);
    const [first = '', ...others] = neighbour.addresses;
    const all = { url, connections: 1, requests: 1, from: [first] };
    // Each stays as it is while the next ones come.
    const attackers = [
      await neighbour.attack('halves', { ...all, paths: ['/v2/'], connections: 300 }),
      await neighbour.attack('drip', { ...all, paths: [`/v2/team/app/blobs/${layer}`], connections: 300 }),
      await neighbour.attack('flood', {
        ...all,
        paths: ['/v2/team/app/manifests/big'],
        headers: 'Accept: application/vnd.oci.image.manifest.v1+json\r\n',
        connections: 200,
        requests: 400,
        from: others.slice(0, 4),
      }),
      await neighbour.attack('flood', {
        ...all,
        paths: Array.from({ length: 6000 }, (_, at) => `${announce}&port=${1 + at}&peer_id=${peerId(at)}`),
        connections: 1200,
        requests: 5,
        from: others.slice(7),
      }),
    ];
    here.slowDown();
    attackers.push(
      await neighbour.attack('flood', {
        ...all,
        paths: TAGS.map((tag) => `/c1/squash/team/app/${tag}`),
        connections: TAGS.length,
        from: others.slice(4, 5),
      }),
      await neighbour.attack('flood', {
        ...all,
        paths: [`/c1/torrent/team/app/blobs/${layer}?ns=${new URL(url).host}&wait=60`],
        connections: 1500,
        from: others.slice(5, 7),
      }),
      await neighbour.attack('open', { ...all, paths: ['/'], connections: 4200, from: others }),
    );
    const seconds = await probe(url);
    assert.ok(median(seconds) < 1, `/healthz took ${seconds.map((each) => each.toFixed(2)).join(', ')} s`);
    const peak = await peakMemory(here.process.pid);
    t.diagnostic(
      `peak ${Math.round(peak / 2 ** 20)} MiB of ${limit / 2 ** 20}, /healthz ${median(seconds).toFixed(3)} s`,
    );
    assert.ok(peak < limit, `${peak} bytes`);
    for (const each of attackers) await each.kill('SIGKILL');
    const torrent = await fetch(`${url}/v2/team/app/tags/list`);
    assert.equal(torrent.status, 200, 'and serves as before');
  },
);

async function start(t: TestContext, limit: number): Promise<Attacked> {
  const neighbour = await openNeighbour(t);
  const registry = await startRegistry(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const spec = { layers: [{ entries: [{ name: 'noise', content: { random: LAYER } }] }] };
  const { manifest, config, layers } = await layout.addImage(spec);
  const place = { url: registry.url, repository: 'team/app' };
  await pushImage(layout, manifest, { ...place, tag: '1.0' });
  const bytes = await layout.blob(manifest.digest);
  for (const tag of TAGS) await pushManifest(manifest.mediaType, bytes, { ...place, tag });
  const json = JSON.parse(bytes.toString()) as object;
  const big = JSON.stringify({ ...json, annotations: { padding: 'x'.repeat(3_700_000) } });
  await pushManifest(manifest.mediaType, Buffer.from(big), { ...place, tag: 'big' });
  const proxy = await startHttpFaultProxy(t, registry.url);

  const data = await smallDisk(t);
  const group = await memoryLimit(limit);
  // Where nobody can make a control group, the heap at least is bounded.
  const heap = { NODE_OPTIONS: `--max-old-space-size=${Math.floor((limit / 2 ** 20) * 0.6)}` };
  const node = await quayctlNode(t, {
    launcher: group?.launcher ?? [],
    env: group === undefined ? heap : {},
  });
  // The node's processes have ended by then.
  t.after(async () => group?.remove());
  const serve = ['serve', '--upstream', proxy.url, '--data', data, '--admin-listen', 'none'];
  const running = node.start([...serve, '--listen', `${neighbour.here}:0`]);
  const [url] = await running.waitFor(/^http:\S+$/m);
  // One blob is hashed while there is peace, for a token.
  const token = await fetch(
    `${url}/c1/torrent/team/app/blobs/${config.digest}?ns=${new URL(url).host}&wait=30`,
  );
  assert.equal(token.status, 200);
  return {
    url,
    process: running,
    neighbour,
    layer: layers[0]?.digest ?? '',
    slowDown: () => (proxy.link.bytesPerSecond = 20e6),
  };
}

async function smallDisk(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'quayctl-disk-'));
  await mustRun(programPath('mount'), ['-t', 'tmpfs', '-o', `size=${DISK},mode=0700`, 'tmpfs', directory]);
  t.after(async () => {
    await mustRun(programPath('umount'), ['-l', directory]);
    await rmdir(directory);
  });
  return directory;
}

/** Of the config, whose token the attacker has. */
async function announcePath({ url, neighbour }: Attacked): Promise<string> {
  const accept = { accept: 'application/vnd.oci.image.manifest.v1+json' };
  const [manifest] = await neighbour.ask([{ url: `${url}/v2/team/app/manifests/1.0`, headers: accept }]);
  const { config } = JSON.parse(manifest?.body ?? '') as { config: { digest: string } };
  const path = `/c1/torrent/team/app/blobs/${config.digest}?ns=${new URL(url).host}&wait=30`;
  const { trackers, infoHash } = decodeTorrent(await (await fetch(`${url}${path}`)).bytes());
  const tracker = new URL(trackers[0]?.announceUrl ?? '');
  return `/announce?${tracker.searchParams.toString()}&left=0&compact=1&info_hash=${infoHash.replace(/../g, '%$&')}`;
}

const peerId = (at: number): string => `-XX0000-${String(at).padStart(12, '0')}`;

/** Seconds that each answer took, while all the attacks stand. */
async function probe(url: string): Promise<number[]> {
  const seconds: number[] = [];
  for (let at = 0; at < PROBES; at++) {
    const started = performance.now();
    const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(20_000) });
    assert.equal(answer.status, 200);
    await answer.arrayBuffer();
    seconds.push((performance.now() - started) / 1000);
    await sleep(250);
  }
  return seconds;
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** `MemoryMax=` of the unit, bytes. */
async function memoryOfUnit(): Promise<number> {
  const [, number, unit] = /^MemoryMax=(\d+)([MG])$/m.exec(await readFile(UNIT, 'utf8')) ?? [];
  return Number(number) * (unit === 'G' ? 2 ** 30 : 2 ** 20);
}
