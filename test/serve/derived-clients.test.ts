import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { Turns } from '../../src/base/turns.ts';
import { Budget } from '../../src/layers/budget.ts';
import { startHttpFaultProxy, type HttpFaultProxy } from '../helpers/fault-proxy.ts';
import { TestLayout, type BuiltImage } from '../helpers/images.ts';
import { openNeighbour, skipWithoutNeighbour, type Neighbour } from '../helpers/neighbour.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage, pushManifest } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';
import { VirtualTime } from '../helpers/virtual-time.ts';

const skip = skipWithoutNeighbour() || skipWithout('docker-registry');
const SIZE = 3_000_000;

interface Stage {
  readonly proxy: HttpFaultProxy;
  readonly service: TestService;
  readonly neighbour: Neighbour;
  readonly image: BuiltImage;
}

/** A registry with one image under `tags`, and a service that a neighbour reaches. */
async function stage(t: TestContext, tags: readonly string[]): Promise<Stage> {
  const neighbour = await openNeighbour(t);
  const registry = await startRegistry(t);
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage(
    { layers: [{ entries: [{ name: 'noise', content: { random: SIZE } }] }], architecture: 'amd64' },
    'team/app:1.0',
  );
  const place = { url: registry.url, repository: 'team/app' };
  await pushImage(layout, image.manifest, { ...place, tag: '1.0' });
  const bytes = await layout.blob(image.manifest.digest);
  for (const tag of tags) await pushManifest(image.manifest.mediaType, bytes, { ...place, tag });
  const proxy = await startHttpFaultProxy(t, registry.url);
  const service = await startService(t, {
    upstream: proxy.url,
    aliases: ['quay.example'],
    listen: { host: neighbour.here, port: 0 },
  });
  return { proxy, service, neighbour, image };
}

const blobReads = ({ proxy, image }: Stage): number =>
  proxy.requests.filter((line) => line.startsWith('GET') && line.includes(image.layers[0]?.digest ?? ''))
    .length;
const work = async ({ service }: Stage): Promise<readonly string[]> =>
  readdir(join(service.data, 'derived/work')).catch(() => []);

test(
  'an ACI for another platform is refused before a layer is fetched, and leaves nothing behind',
  { skip },
  async (t) => {
    const here = await stage(t, []);
    const path = '/c1/aci/quay.example/team/app/1.0/aci/linux/aarch64/';
    const answers = await here.neighbour.ask(
      Array.from({ length: 6 }, (_, at) => ({
        url: `${here.service.url}${path}`,
        headers: { host: `x${at}.example` },
      })),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [404]);
    assert.equal(blobReads(here), 0);
    assert.deepEqual(await work(here), []);
  },
);

test(
  'a hundred questions of one site, broken off at once, do not keep another site waiting',
  { skip },
  async (t) => {
    const tags = Array.from({ length: 110 }, (_, at) => `t${at}`);
    const here = await stage(t, tags);
    here.proxy.link.bytesPerSecond = 400_000;
    const attacker = await here.neighbour.attack('flood', {
      url: here.service.url,
      paths: tags.map((tag) => `/c1/squash/team/app/${tag}`),
      from: here.neighbour.addresses.slice(0, 1),
      connections: tags.length,
      requests: 1,
    });
    const deriving = (): number => here.service.events.filter(({ kind }) => kind === 'deriving').length;
    while (deriving() < 2) await sleep(20);
    await attacker.kill('SIGKILL');
    here.proxy.link.bytesPerSecond = Infinity;
    const honest = await fetch(`${here.service.url}/c1/squash/team/app/1.0`);
    assert.equal(
      honest.status,
      200,
      await honest
        .clone()
        .text()
        .then((body) => body.slice(0, 300)),
    );
    await honest.arrayBuffer();
    // What nobody waits for is given up, in the queue and under way.
    const over = (): number =>
      here.service.events.filter(({ kind }) => kind === 'derived' || kind === 'deriving-failed').length;
    const settled = (): boolean => over() >= deriving();
    while (!settled()) await sleep(50);
    assert.ok(deriving() <= 9, `${deriving()} were begun`);
  },
);

test('work that nobody waits for any more ends', { skip }, async (t) => {
  const here = await stage(t, []);
  here.proxy.link.bytesPerSecond = 50_000;
  const leaving = new AbortController();
  const asked = fetch(`${here.service.url}/c1/squash/team/app/1.0`, { signal: leaving.signal });
  asked.catch(() => undefined);
  while (blobReads(here) === 0) await sleep(20);
  leaving.abort();
  const failed = (): boolean => here.service.events.some(({ kind }) => kind === 'deriving-failed');
  while (!failed()) await sleep(50);
  const [event] = here.service.events.filter(({ kind }) => kind === 'deriving-failed');
  assert.match(JSON.stringify(event), /nobody waits/);
});

test('sites take turns, none has all places, and each claimant has its bound', async () => {
  const turns = new Turns({ what: 'works', atOnce: 3, atOnceEach: 2, most: 8, mostEach: 5 });
  const begun: string[] = [];
  const never = new AbortController().signal;
  const enter = (site: string, ...more: string[]): { release: () => void; ended: Promise<void> } => {
    const { turn, release } = turns.enter([site, ...more]);
    return { release, ended: turn(never).then(() => void begun.push(site)) };
  };
  const greedy = Array.from({ length: 5 }, () => enter('a'));
  assert.throws(() => turns.enter(['a']), { code: 'limit' });
  const modest = [enter('b', 'user'), enter('c', 'user')];
  await sleep(0);
  assert.deepEqual(begun, ['a', 'a', 'b']);
  greedy[0]?.release();
  greedy[0]?.release();
  await sleep(0);
  assert.deepEqual(begun, ['a', 'a', 'b', 'c']);
  for (const each of [...greedy, ...modest]) each.release();
  const late = turns.enter(['a', 'user']);
  const gone = new AbortController();
  gone.abort(new Error('left'));
  await assert.rejects(late.turn(gone.signal), /left/);
  late.release();
  for (let at = 0; at < 5; at++) turns.enter([`site ${at}`, 'user']);
  assert.throws(() => turns.enter(['another site', 'user']), { code: 'limit' });
});

test('sites that hold all places leave one to others after a minute, and no more than there are', async (t) => {
  const time = new VirtualTime(t);
  const turns = new Turns({
    ...{ what: 'works', atOnce: 3, atOnceEach: 2, most: 20, mostEach: 8 },
    ...{ spare: 2, spareAfterMs: 60_000 },
  });
  const begun: string[] = [];
  const enter = (site: string): (() => void) => {
    const { turn, release } = turns.enter([site]);
    void turn(new AbortController().signal).then(() => begun.push(site));
    return release;
  };
  const releases = ['a', 'a', 'a', 'b', 'b'].map(enter);
  await time.advance(30_000);
  for (const site of ['c', 'c', 'd', 'e']) enter(site);
  await time.advance(59_000);
  assert.deepEqual(begun, ['a', 'a', 'b'], 'two sites hold all');
  await time.advance(2_000);
  assert.deepEqual(begun, ['a', 'a', 'b', 'c', 'd'], 'one place each, and never for who has one');
  await time.advance(5_000);
  assert.equal(begun.length, 5);
  releases[0]?.();
  await time.advance(10);
  assert.deepEqual(begun.slice(5), ['e'], 'who has waited for long is before those who have a place');
});

test('where other images take the memory the answer is 503, and then the image', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  await layout.addImage({ layers: [{ entries: [{ name: 'a', content: 'a' }] }] }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const others: Budget[] = [];
  for (let isFull = false; !isFull;) {
    const other = new Budget();
    others.push(other);
    try {
      for (;;) other.node();
    } catch (error) {
      // Until the memory is full it is the bound of each image that ends it.
      isFull = isQuayctlError(error, 'limit') && /memory/.test(error.message);
    }
  }
  const ask = (): Promise<Response> => fetch(`${service.url}/c1/squash/team/app/1.0`);
  const refused = await ask();
  assert.equal(refused.status, 503);
  assert.ok(refused.headers.has('retry-after'));
  assert.match(await refused.text(), /other images take the memory/);
  for (const other of others) other.release();
  assert.equal((await ask()).status, 200, 'it is not remembered');
});
