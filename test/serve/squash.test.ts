import assert from 'node:assert/strict';
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { digestOf } from '../../src/image/digest.ts';
import { decodeTorrent } from '../../src/metainfo/metainfo.ts';
import { DerivedStore } from '../../src/serve/derived/derived-store.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { TestLayout, type ImageSpec } from '../helpers/images.ts';
import type { LayerEntry } from '../helpers/layers.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startServer } from '../helpers/http-server.ts';
import { oddImage, oddLayer } from '../helpers/odd-images.ts';
import { startOddRegistry } from '../helpers/odd-registry.ts';
import { file, oddTar } from '../helpers/odd-tar.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const TORRENT = { accept: 'application/x-bittorrent' };
const RUN = {
  Env: ['A=b'],
  Entrypoint: ['/app'],
  Cmd: ['x'],
  User: '1:2',
  WorkingDir: '/w',
  Labels: { a: 'b' },
  ExposedPorts: { '80/tcp': {} },
};
const LAYERS: readonly { entries: readonly LayerEntry[]; compression?: 'zstd' | 'none' }[] = [
  {
    entries: [
      { name: 'a/', type: 'directory' },
      { name: 'a/old', content: 'old' },
      { name: 'a/kept', content: 'kept' },
      { name: 'w/', type: 'directory' },
    ],
  },
  {
    entries: [
      { name: 'a/.wh.old', content: '' },
      { name: 'a/new', content: 'new' },
    ],
    compression: 'zstd',
  },
  { entries: [{ name: 'a/kept', content: 'kept anew' }], compression: 'none' },
];
const NOISE: ImageSpec = { layers: [{ entries: [{ name: 'noise', content: { random: 3_000_000 } }] }] };

interface Served {
  readonly service: TestService;
  readonly layout: TestLayout;
  /** Of the manifest. */
  readonly digest: string;
}

async function served(t: TestContext, spec: ImageSpec = { layers: LAYERS, run: RUN }): Promise<Served> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const { manifest } = await layout.addImage(spec, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}`, aliases: ['quay.example'] });
  return { service, layout, digest: manifest.digest };
}

const squash = (
  { url }: TestService,
  path: string,
  headers: Record<string, string> = {},
): Promise<Response> => fetch(`${url}/c1/squash/team/app/${path}`, { headers });

test('a squashed image is an archive of one layer, with all that the config said', async (t) => {
  const { service, digest } = await served(t);
  const answer = await squash(service, '1.0');
  assert.deepEqual([answer.status, answer.headers.get('quay-torrent')], [200, '1']);
  const files = await untar(Buffer.from(await answer.arrayBuffer()));
  const [legacy, ...others] = json(files, 'manifest.json') as {
    Config: string;
    Layers: string[];
    RepoTags: string[];
  }[];
  assert.ok(legacy !== undefined && others.length === 0 && legacy.Layers.length === 1);
  assert.deepEqual(legacy.RepoTags, ['team/app:1.0.squash']);
  const packed = files.get(legacy.Layers[0] ?? '') ?? Buffer.alloc(0);
  const plain = gunzipSync(packed);
  const tree = await untar(plain);
  assert.deepEqual(
    [...tree].map(([name, content]) => `${name} ${String(content)}`),
    ['./ ', 'a/ ', 'w/ ', 'a/new new', 'a/kept kept anew'],
  );

  const config = json(files, legacy.Config) as {
    config: unknown;
    rootfs: unknown;
    history: { empty_layer?: boolean }[];
  };
  assert.deepEqual(config.config, RUN);
  assert.deepEqual(config.rootfs, { type: 'layers', diff_ids: [digestOf(plain)] });
  assert.deepEqual(
    config.history.map(({ empty_layer }) => empty_layer ?? false),
    [true, true, true, false],
  );
  assert.deepEqual(config.history.at(-1), {
    created: '1970-01-01T00:00:00Z',
    created_by: 'quayctl squash',
    comment: `squashed from ${digest}`,
  });
  for (const [name, bytes] of files) {
    if (name.startsWith('blobs/')) assert.equal(`blobs/sha256/${digestOf(bytes).slice(7)}`, name);
  }
});

test('its torrent says what it hashes to, and its web seed gives it in parts', async (t) => {
  const { service } = await served(t, NOISE);
  const whole = await bytesOf(await squash(service, '1.0'));
  const answer = await squash(service, `1.0?ns=${service.host}`, TORRENT);
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, TORRENT.accept]);
  const { digest, geometry, urlList } = decodeTorrent(Buffer.from(await answer.arrayBuffer()));
  assert.deepEqual([digest, geometry.length], [digestOf(whole), whole.length]);
  const [seed = ''] = urlList;
  const part = await fetch(seed, { headers: { range: 'bytes=1000000-1999999' } });
  assert.deepEqual(
    [part.status, part.headers.get('content-range')],
    [206, `bytes 1000000-1999999/${whole.length}`],
  );
  assert.ok(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(1_000_000, 2_000_000)));
  const head = await fetch(seed, { method: 'HEAD' });
  assert.deepEqual(
    [head.status, head.headers.get('content-length'), head.headers.get('etag')],
    [200, String(whole.length), `"${digest}"`],
  );
  const unsigned = await fetch(seed.replace(/signature=.*/, 'signature=x'));
  assert.equal(unsigned.status, 403);
});

test('the first request for the torrent makes the image, once for all who ask', async (t) => {
  const { service } = await served(t, NOISE);
  const answers = await Promise.all(Array.from({ length: 8 }, () => squash(service, '1.0?wait=30', TORRENT)));
  assert.deepEqual(
    answers.map(({ status }) => status),
    answers.map(() => 200),
  );
  assert.equal(service.events.filter(({ kind }) => kind === 'deriving').length, 1);
});

test('the same manifest makes the same bytes, in another service, and again when the first are lost', async (t) => {
  const { service, layout } = await served(t);
  const other = await startService(t, { upstream: `oci:${layout.directory}` });
  const digests = [];
  for (const each of [service, other]) digests.push(digestOf(await bytesOf(await squash(each, '1.0'))));
  assert.equal(digests[0], digests[1]);
  await new DerivedStore(service.data).clean(new Set(), { maxAgeMs: -1 });
  assert.equal(digestOf(await bytesOf(await squash(service, '1.0'))), digests[0]);
});

test('asked for by digest it is the same image under a name of its digest', async (t) => {
  const { service, digest } = await served(t);
  const files = await untar(await bytesOf(await squash(service, digest)));
  const [legacy] = json(files, 'manifest.json') as { RepoTags: string[] }[];
  assert.deepEqual(legacy?.RepoTags, [`team/app:sha256-${digest.slice(7, 19)}.squash`]);
});

test('of an index the platform is taken that is asked for', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const of = (architecture: string): ImageSpec => ({
    architecture,
    layers: [{ entries: [{ name: architecture }] }],
  });
  await layout.addIndex([of('amd64'), of('arm64')], 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const architecture = async (query: string): Promise<unknown> => {
    const files = await untar(await bytesOf(await squash(service, `1.0${query}`)));
    const [legacy] = json(files, 'manifest.json') as { Config: string }[];
    return (json(files, legacy?.Config ?? '') as { architecture: string }).architecture;
  };
  assert.deepEqual([await architecture(''), await architecture('?platform=linux/arm64')], ['amd64', 'arm64']);
  assert.equal((await squash(service, '1.0?platform=linux/s390x')).status, 404);
  assert.equal((await squash(service, '1.0?platform=x')).status, 400);
});

test('who names another registry, or nothing that is there, is told', async (t) => {
  const { service } = await served(t);
  const statuses = [];
  for (const path of ['1.0?ns=quay.io', '2.0', '..', 'a/blobs/sha256:0', digestOf(Buffer.from('x'))]) {
    statuses.push((await squash(service, path)).status);
  }
  assert.deepEqual(statuses, [404, 404, 404, 404, 404]);
});

const HOSTILE: readonly { what: string; entries: readonly LayerEntry[]; reason: RegExp }[] = [
  { what: 'a file below a file', entries: [{ name: 'a' }, { name: 'a/x' }], reason: /"a" is none/ },
  {
    what: 'a link to nothing',
    entries: [{ name: 'a', type: 'link', linkname: 'b' }],
    reason: /is not there/,
  },
];

for (const { what, entries, reason } of HOSTILE) {
  test(`an image with ${what} is refused, and stays refused without being read again`, async (t) => {
    const { service } = await served(t, { layers: [{ entries }] });
    for (let times = 0; times < 2; times++) {
      const answer = await squash(service, '1.0', TORRENT);
      const { errors } = (await answer.json()) as { errors: { message: string }[] };
      assert.equal(answer.status, 501);
      assert.match(errors[0]?.message ?? '', reason);
    }
    assert.equal(service.events.filter(({ kind }) => kind === 'deriving').length, 1);
  });
}

test('a foreign layer that the registry does not have is told, and its URL is not asked', async (t) => {
  const away = await startServer(t, (_, response) => response.end());
  const registry = await startOddRegistry(t);
  const type = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
  const layer = oddLayer(oddTar([file('a')]), { mediaType: type, compression: 'none' });
  const layers = ([found]: readonly object[]): object[] => [{ ...found, urls: [`${away.url}/layer`] }];
  registry.put('team/app', '1.0', oddImage([layer], { manifest: { layers } }));
  registry.blobs.delete(layer.diffId);
  const service = await startService(t, { upstream: registry.url });
  const answer = await squash(service, '1.0');
  assert.equal(answer.status, 501);
  assert.match(await answer.text(), /layer sha256:\w+ is a foreign one, which the registry does not have/);
  assert.equal(away.requests.length, 0);
});

test('blobs with a wrong digest are found before they are parsed', async (t) => {
  const { service, layout } = await served(t, NOISE);
  const image = JSON.parse(String(await layout.blob((await indexed(layout)).digest))) as {
    layers: { digest: string; size: number }[];
  };
  const [layer] = image.layers;
  await writeFile(layout.blobPath(layer?.digest ?? ''), Buffer.alloc(layer?.size ?? 0));
  const answer = await squash(service, '1.0', TORRENT);
  assert.equal(answer.status, 404, 'a layout does not give it out');
});

/** A frame of its own for every block of the tar. */
const framePerBlock = (tar: Buffer): Buffer =>
  Buffer.concat(
    Array.from({ length: tar.length / 512 }, (_, at) =>
      zstdCompressSync(tar.subarray(at * 512, at * 512 + 512)),
    ),
  );
const [LOWEST] = LAYERS;

test('a layer in zstd of many frames is squashed with all of its files', async (t) => {
  const entries = LOWEST?.entries ?? [];
  const layers = [{ entries, compression: 'zstd', pack: framePerBlock }] as const;
  const { service } = await served(t, { layers });
  const files = await untar(await bytesOf(await squash(service, '1.0')));
  const [legacy] = json(files, 'manifest.json') as { Layers: string[] }[];
  const tree = await untar(gunzipSync(files.get(legacy?.Layers[0] ?? '') ?? Buffer.alloc(0)));
  assert.deepEqual([...tree.keys()], ['./', 'a/', 'w/', 'a/old', 'a/kept']);
});

const UNLIKE: readonly { what: string; pack: (tar: Buffer) => Uint8Array; reason: RegExp }[] = [
  { what: 'gzip without its trailer', pack: (tar) => gzipSync(tar).subarray(0, -8), reason: /cut short/ },
  { what: 'gzip with junk behind it', pack: (tar) => Buffer.concat([gzipSync(tar), tar]), reason: /follows/ },
  { what: 'zstd without its last frame', pack: (tar) => framePerBlock(tar.subarray(512)), reason: /diff ID/ },
  { what: 'another tar', pack: (tar) => Buffer.concat([tar.subarray(0, 512), tar]), reason: /diff ID/ },
];

for (const { what, pack, reason } of UNLIKE) {
  test(`a layer that is ${what} is refused with the reason, and nothing is made of it`, async (t) => {
    const { service } = await served(t, { layers: [{ entries: LOWEST?.entries ?? [], pack }] });
    for (const path of ['/c1/squash/team/app/1.0', `/c1/aci/quay.example/team/app/1.0/aci/linux/amd64/`]) {
      const answer = await fetch(`${service.url}${path}?wait=60`, { headers: TORRENT });
      const { errors } = (await answer.json()) as { errors: { message: string }[] };
      assert.equal(answer.status, 501);
      assert.match(errors[0]?.message ?? '', /^layer sha256:[0-9a-f]{12}: /);
      assert.match(errors[0]?.message ?? '', reason);
    }
    assert.deepEqual(await readdir(join(service.data, 'derived/files')).catch(() => []), []);
  });
}

const REGISTRY = { skip: skipWithout('docker-registry') };

test('work outlives the client, and what was read outlives the service', REGISTRY, async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const random = (seed: string): ImageSpec['layers'][number] => ({
    entries: [{ name: seed, content: { random: 4_000_000, seed } }],
  });
  const { manifest, layers } = await layout.addImage({ layers: [random('a'), random('b')] });
  const registry = await startRegistry(t);
  await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
  const proxy = await startHttpFaultProxy(t, registry.url);
  proxy.link.bytesPerSecond = 2e6;
  const first = await startService(t, { upstream: proxy.url });
  const progress = await squash(first, '1.0', TORRENT);
  assert.equal(progress.status, 202);
  const { size, hashed, etaSeconds } = (await progress.json()) as {
    size: number;
    hashed: number;
    etaSeconds: number;
  };
  assert.ok(
    size > 8_000_000 && hashed < size && etaSeconds > 0,
    JSON.stringify({ size, hashed, etaSeconds }),
  );
  // Nobody asks; the first layer comes all the same. Then the service ends.
  const [work] = await readdir(join(first.data, 'derived/work'));
  const whole = join(first.data, 'derived/work', work ?? '', layers[0]?.digest.slice(7) ?? '');
  while ((await stat(whole).catch(() => undefined)) === undefined) await sleep(20);
  await first.close();

  proxy.link.bytesPerSecond = Infinity;
  const second = await startService(t, { upstream: proxy.url, dataDirectory: first.data });
  const [answer] = [await squash(second, '1.0?wait=60', TORRENT)];
  assert.equal(answer.status, 200);
  const reads = (digest = ''): number =>
    proxy.requests.filter((line) => line.startsWith('GET') && line.includes(`/blobs/${digest}`)).length;
  assert.equal(reads(layers[0]?.digest), 1);
  assert.ok(reads(layers[1]?.digest) > 0);
  assert.deepEqual(await readdir(join(first.data, 'derived/work')), [], 'no work is left lying');
});

test('a private image is squashed for those who may read it', REGISTRY, async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const { manifest } = await layout.addImage(NOISE);
  const registry = await startRegistry(t, {
    auth: { kind: 'htpasswd', username: 'alice', password: 'wonder' },
  });
  const authorization = `Basic ${Buffer.from('alice:wonder').toString('base64')}`;
  await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0', authorization });
  const service = await startService(t, { upstream: registry.url });
  const stranger = await squash(service, '1.0?wait=30', TORRENT);
  assert.equal(stranger.status, 401);
  assert.match(stranger.headers.get('www-authenticate') ?? '', /^Basic/i);
  // The service itself may not read it: what alice showed is used, and kept nowhere.
  assert.equal((await squash(service, '1.0?wait=30', { ...TORRENT, authorization })).status, 200);
  assert.equal((await squash(service, '1.0?wait=30', TORRENT)).status, 401, 'made, it is still private');
});

test(
  'while the registry is away, who was granted the image still gets it, and nobody else',
  REGISTRY,
  async (t) => {
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const { manifest } = await layout.addImage(NOISE);
    const registry = await startRegistry(t, {
      auth: { kind: 'htpasswd', username: 'alice', password: 'wonder' },
    });
    const authorization = `Basic ${Buffer.from('alice:wonder').toString('base64')}`;
    await pushImage(layout, manifest, {
      url: registry.url,
      repository: 'team/app',
      tag: '1.0',
      authorization,
    });
    const proxy = await startHttpFaultProxy(t, registry.url);
    const service = await startService(t, { upstream: proxy.url });
    const ask = async (shown: string): Promise<number> =>
      (await squash(service, '1.0?wait=30', { ...TORRENT, authorization: shown })).status;
    assert.equal(await ask(authorization), 200);
    proxy.faults.push({ status: 503 });
    assert.deepEqual([await ask(authorization), await ask('Basic eDp5')], [200, 502]);
    proxy.faults.splice(0, 1, { status: 401 });
    assert.equal(await ask(authorization), 401);
    proxy.faults.splice(0, 1, { status: 503 });
    assert.equal(await ask(authorization), 502, 'what was denied once is not granted from memory');
  },
);

test('derived images go by age, then by size, the least recently used first', async (t) => {
  const { service, digest } = await served(t, NOISE);
  const store = new DerivedStore(service.data);
  const directory = join(service.data, 'derived/files');
  const make = async (path: string): Promise<string> =>
    digestOf(await bytesOf(await squash(service, path))).slice(7);
  const [older, newer] = [await make('1.0'), await make(digest)];
  const usedBefore = async (name: string, seconds: number): Promise<void> => {
    const then = new Date(Date.now() - seconds * 1000);
    await utimes(join(directory, name), then, then);
  };
  assert.deepEqual(new Set(await readdir(directory)), new Set([older, newer]));
  await usedBefore(older, 20);
  await usedBefore(newer, 10);
  await store.clean(new Set(), { maxAgeMs: 60_000, maxBytes: 1 });
  assert.deepEqual(await readdir(directory), [newer], 'one is kept, however large');
  await usedBefore(newer, 120);
  await store.clean(new Set(), { maxAgeMs: 60_000 });
  assert.deepEqual(await readdir(directory), []);
  assert.deepEqual(await readdir(join(service.data, 'derived/records')), []);
});

async function bytesOf(answer: Response): Promise<Buffer> {
  assert.equal(answer.status, 200);
  return Buffer.from(await answer.arrayBuffer());
}

async function indexed(layout: TestLayout): Promise<{ digest: string }> {
  const index = JSON.parse(await readFile(join(layout.directory, 'index.json'), 'utf8')) as {
    manifests: { digest: string }[];
  };
  return index.manifests[0] ?? { digest: '' };
}

function json(files: ReadonlyMap<string, Buffer>, name: string): unknown {
  return JSON.parse(files.get(name)?.toString() ?? 'null');
}

async function untar(bytes: Uint8Array): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const entries = extract();
  entries.end(bytes);
  for await (const entry of entries) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    files.set(entry.header.name, Buffer.concat(chunks));
  }
  return files;
}
