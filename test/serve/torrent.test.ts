import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { parseDigest } from '../../src/image/digest.ts';
import { decodeBencode, isDictionary } from '../../src/metainfo/bencode.ts';
import { decodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { startHttpFaultProxy, type HttpFaultProxy } from '../helpers/fault-proxy.ts';
import { randomLayer, TestLayout, type BuiltImage } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry, type TestRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

const REGISTRY = { skip: skipWithout('docker-registry') };
const EMPTY = `sha256:${createHash('sha256').digest('hex')}`;

interface Sample {
  readonly layout: TestLayout;
  readonly image: BuiltImage;
  /** Of its one layer. */
  readonly digest: string;
}

async function sample(t: TestContext, bytes = 1_300_000): Promise<Sample> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(bytes, 'a')] }, 'team/app:1.0');
  return { layout, image, digest: image.layers[0]?.digest ?? '' };
}

interface Slow extends Sample {
  readonly registry: TestRegistry;
  readonly proxy: HttpFaultProxy;
  readonly service: TestService;
}

/** A service in front of a registry behind a link that may be made slow. */
async function behindProxy(t: TestContext, bytes: number): Promise<Slow> {
  const made = await sample(t, bytes);
  const registry = await startRegistry(t);
  await pushImage(made.layout, made.image.manifest, {
    url: registry.url,
    repository: 'team/app',
    tag: '1.0',
  });
  const proxy = await startHttpFaultProxy(t, registry.url);
  const service = await startService(t, { upstream: proxy.url });
  return { ...made, registry, proxy, service };
}

const reads = ({ proxy }: Slow): number =>
  proxy.requests.filter((line) => /^GET \S+\/blobs\/\S+ 200/.test(line)).length;

async function metainfo(answer: Response): Promise<Metainfo> {
  assert.equal(answer.status, 200);
  return decodeTorrent(Buffer.from(await answer.arrayBuffer()));
}

async function reason(answer: Response): Promise<string> {
  const { errors } = (await answer.json()) as { errors: { message: string }[] };
  return errors[0]?.message ?? '';
}

test('the torrent is what the protocol says, and no more', async (t) => {
  const { layout, digest } = await sample(t);
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const answer = await service.torrent('team/app', digest);
  assert.equal(answer.headers.get('content-type'), 'application/x-bittorrent');
  assert.equal(answer.headers.get('cache-control'), 'private, no-store');
  assert.equal(answer.headers.get('quay-torrent'), '1');
  const bytes = Buffer.from(await answer.arrayBuffer());
  const torrent = decodeBencode(bytes);
  assert.ok(isDictionary(torrent));
  assert.deepEqual(
    [...torrent.entries.keys()],
    ['announce', 'created by', 'creation date', 'info', 'quayctl', 'url-list'],
  );
  const info = torrent.entries.get('info');
  assert.ok(isDictionary(info));
  assert.deepEqual([...info.entries.keys()], ['length', 'name', 'piece length', 'pieces', 'private']);
  assert.equal(info.entries.get('private'), 1);

  const parsed = decodeTorrent(bytes);
  const blob = await layout.blob(digest);
  const { hmac } = JSON.parse(await readFile(join(service.data, 'secret.json'), 'utf8')) as { hmac: string };
  const name = createHmac('sha256', Buffer.from(hmac, 'base64url'))
    .update(`quayctl-1\n${digest}`)
    .digest('hex');
  assert.equal(parsed.name, name);
  assert.deepEqual(parsed.geometry, { length: blob.length, pieceLength: 524_288, pieceCount: 3 });
  const pieces = [0, 1, 2].map((at) => blob.subarray(at * 524_288, (at + 1) * 524_288));
  const hashes = pieces.map((piece) => createHash('sha1').update(piece).digest());
  assert.deepEqual(Buffer.from(parsed.pieces), Buffer.concat(hashes));
  const [announce = '', ...others] = parsed.trackers.map(({ announceUrl }) => announceUrl);
  assert.match(announce, /\?jwt=eyJ[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.deepEqual([announce.split('?')[0], ...others], [`${service.url}/announce`]);
  assert.equal(parsed.digest, digest);
  assert.equal(parsed.urlList.length, 1);
});

test('every blob has a torrent, configs and manifests too, but not the empty one', async (t) => {
  const { layout, image } = await sample(t);
  await layout.addBlob('application/octet-stream', Buffer.alloc(0));
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  for (const { digest, size } of [image.config, image.manifest]) {
    const parsed = await metainfo(await service.torrent('team/app', digest));
    assert.deepEqual(parsed.geometry, { length: size, pieceLength: 524_288, pieceCount: 1 });
  }
  const empty = await service.torrent('team/app', EMPTY);
  assert.deepEqual([empty.status, await reason(empty)], [404, 'the blob is empty: it has no torrent']);
});

test('a restart keeps piece hashes and info hashes; a new secret makes new ones', async (t) => {
  const { layout, digest } = await sample(t);
  const upstream = `oci:${layout.directory}`;
  const first = await startService(t, { upstream });
  const before = await metainfo(await first.torrent('team/app', digest));
  await first.close();

  const second = await startService(t, { upstream, dataDirectory: first.data });
  const after = await metainfo(await second.torrent('team/app', digest));
  assert.equal(after.infoHash, before.infoHash);
  assert.ok(!second.events.some((event) => event.kind === 'hashing'));

  const other = await startService(t, { upstream });
  const elsewhere = await metainfo(await other.torrent('team/app', digest));
  assert.notEqual(elsewhere.infoHash, before.infoHash);
  assert.deepEqual(elsewhere.pieces, before.pieces);

  const replica = await startService(t, { upstream, secretFile: join(first.data, 'secret.json') });
  assert.equal((await metainfo(await replica.torrent('team/app', digest))).infoHash, before.infoHash);
});

test('hashes on disk are private, and damaged ones are made again', async (t) => {
  const { layout, digest } = await sample(t);
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const { infoHash } = await metainfo(await service.torrent('team/app', digest));
  const folder = join(service.data, 'hashes/sha256');
  const file = join(folder, digest.slice('sha256:'.length));
  assert.deepEqual(await readdir(folder), [digest.slice('sha256:'.length)]);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  const good = await readFile(file);

  const flipped = Buffer.from(good);
  flipped[100] = (flipped[100] ?? 0) ^ 1;
  const damages = [
    () => truncate(file, good.length - 1),
    () => truncate(file, 0),
    () => truncate(file, 17 * 1024 * 1024),
    () => writeFile(file, flipped),
    () => writeFile(file, 'd6:lengthi1ee'),
  ];
  for (const damage of damages) {
    await damage();
    assert.equal((await metainfo(await service.torrent('team/app', digest))).infoHash, infoHash);
    // Remade with the time of now: the checksum apart, everything else is as it was.
    assert.equal((await readFile(file)).length, good.length);
  }
  assert.equal(service.events.filter((event) => event.kind === 'hashed').length, 1 + damages.length);
});

test('a data directory that cannot be written costs the hashes, not the torrent', async (t) => {
  const { layout, digest } = await sample(t);
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  await writeFile(join(service.data, 'hashes'), 'a file where a directory should be');
  await metainfo(await service.torrent('team/app', digest));
  assert.match(
    JSON.stringify(service.events),
    /"warning","message":"the piece hashes of sha256:\w+ cannot be kept"/,
  );
});

test('a blob with other bytes than its digest never becomes a torrent', async (t) => {
  const { layout, digest } = await sample(t);
  const blob = await layout.blob(digest);
  blob[7] = (blob[7] ?? 0) ^ 1;
  await writeFile(layout.blobPath(digest), blob);
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  for (let asked = 0; asked < 3; asked++) {
    const answer = await service.torrent('team/app', digest);
    assert.equal(answer.status, 404, 'a layout does not give it out');
  }
  assert.match(
    JSON.stringify(service.events),
    /the layout's blob sha256:[0-9a-f]+ is no file of that content/,
  );
  await assert.rejects(readdir(join(service.data, 'hashes/sha256')));
});

test('concurrent first requests share one pass, and hear how far it is', REGISTRY, async (t) => {
  const slow = await behindProxy(t, 2_000_000);
  slow.proxy.link.bytesPerSecond = 2_000_000;
  const { service, digest } = slow;

  const progress = await service.torrent('team/app', digest, { wait: 0 });
  assert.deepEqual([progress.status, progress.headers.get('retry-after')], [202, '1']);
  assert.equal(progress.headers.get('quay-torrent'), '1');
  const said = (await progress.json()) as { size: number; hashed: number; etaSeconds: number };
  assert.equal(said.size, slow.image.layers[0]?.size);
  assert.ok(said.hashed >= 0 && said.hashed < said.size);
  assert.ok(said.etaSeconds > 0 && said.etaSeconds < 10, `${said.etaSeconds}`);

  const answers = await Promise.all(Array.from({ length: 8 }, () => service.torrent('team/app', digest)));
  const hashes = await Promise.all(answers.map(async (answer) => (await metainfo(answer)).infoHash));
  assert.equal(new Set(hashes).size, 1);
  assert.equal(reads(slow), 1, slow.proxy.requests.join('\n'));
});

test('a pass outlives the client that began it', REGISTRY, async (t) => {
  const slow = await behindProxy(t, 1_000_000);
  slow.proxy.link.bytesPerSecond = 1_000_000;
  const url = `${slow.service.url}/c1/torrent/team/app/blobs/${slow.digest}?ns=${slow.service.host}&wait=60`;
  await assert.rejects(fetch(url, { signal: AbortSignal.timeout(200) }), { name: 'TimeoutError' });
  await metainfo(await slow.service.torrent('team/app', slow.digest));
  assert.equal(reads(slow), 1);
});

test('behind a registry that cuts every transfer, a pass goes on where it was cut', REGISTRY, async (t) => {
  const slow = await behindProxy(t, 2_000_000);
  slow.proxy.faults.push({ match: /^GET .*blobs/, cutAfter: 600_000 });
  await metainfo(await slow.service.torrent('team/app', slow.digest));
  const transfers = slow.proxy.requests.filter((line) => /^GET .*\/blobs\//.test(line)).length;
  assert.equal(transfers, Math.ceil((slow.image.layers[0]?.size ?? 0) / 600_000));
});

test('a blob that is corrupted on its way makes no torrent', REGISTRY, async (t) => {
  const slow = await behindProxy(t, 500_000);
  slow.proxy.faults.push({ match: /^GET .*blobs/, corruptAt: 400_000 });
  assert.equal((await slow.service.torrent('team/app', slow.digest)).status, 502);
});

test(
  'without an upstream there is an error that says so, and no word that nothing is served here',
  REGISTRY,
  async (t) => {
    const slow = await behindProxy(t, 1000);
    await slow.proxy.down();
    const answer = await slow.service.torrent('team/app', slow.digest);
    assert.deepEqual([answer.status, answer.headers.get('quay-torrent')], [502, '1']);
    assert.match(await reason(answer), /^127\.0\.0\.1:\d+ cannot be reached: connection refused$/);
  },
);

test('closing ends the waiting of those who wait', REGISTRY, async (t) => {
  const slow = await behindProxy(t, 1_000_000);
  slow.proxy.link.bytesPerSecond = 100_000;
  const waiting = slow.service.torrent('team/app', slow.digest, { wait: 60 });
  while (!slow.service.events.some((event) => event.kind === 'hashing')) await sleep(10);
  const startedAt = performance.now();
  const [answer] = await Promise.all([waiting, slow.service.close()]);
  assert.equal(answer.status, 202);
  assert.ok(performance.now() - startedAt < 5000);
  assert.equal(slow.service.events.at(-1)?.kind, 'stopped');
});

test('many blobs at once are hashed a few at a time, and all of them', async (t) => {
  const layout = await TestLayout.create(await tempDirectory(t, 'many'));
  const layers = Array.from({ length: 40 }, (_, at) => randomLayer(20_000, `${at}`));
  const image = await layout.addImage({ layers }, 'team/app:1.0');
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const answers = await Promise.all(image.layers.map(({ digest }) => service.torrent('team/app', digest)));
  for (const [at, answer] of answers.entries()) {
    assert.equal((await metainfo(answer)).digest, parseDigest(image.layers[at]?.digest ?? ''));
  }
  let running = 0;
  let most = 0;
  for (const { kind } of service.events) {
    if (kind === 'hashing') most = Math.max(most, ++running);
    if (kind === 'hashed') running--;
  }
  assert.ok(most <= 4, `${most} at once`);
});

test('whose registry it is decides before the credential is read', REGISTRY, async (t) => {
  const slow = await behindProxy(t, 1000);
  const { service, digest, proxy } = slow;
  const alias = await startService(t, { upstream: proxy.url, aliases: ['registry.example'] });
  const asked = proxy.requests.length;
  for (const [query, status] of [
    [`?ns=elsewhere.example`, 404],
    [`?ns=${service.host}&ns=elsewhere.example`, 404],
    [`?ns=`, 404],
    [`?ns=${encodeURIComponent(`${service.host}/x`)}`, 404],
    ['', 404],
  ] as const) {
    const answer = await fetch(`${service.url}/c1/torrent/team/app/blobs/${digest}${query}`, {
      headers: { authorization: 'Basic c2VjcmV0OnNlY3JldA==' },
    });
    assert.deepEqual([answer.status, answer.headers.get('quay-torrent')], [status, '1'], query);
    assert.equal(answer.headers.get('cache-control'), 'private, no-store');
  }
  assert.equal(proxy.requests.length, asked, 'the upstream has heard nothing');
  for (const ns of [service.host, proxy.host]) {
    assert.equal((await service.torrent('team/app', digest, { ns })).status, 200, ns);
  }
  assert.equal((await alias.torrent('team/app', digest, { ns: 'Registry.example:443' })).status, 200);
});
