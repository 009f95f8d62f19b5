import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { decodeTorrent } from '../../../src/metainfo/metainfo.ts';
import { digestOf } from '../../../src/image/digest.ts';
import { startDockerd } from '../../helpers/dockerd.ts';
import { randomLayer, TestLayout, type BuiltImage } from '../../helpers/images.ts';
import { mustRun } from '../../helpers/processes.ts';
import { skipWithout } from '../../helpers/programs.ts';
import { pushImage } from '../../helpers/push.ts';
import { startRegistry } from '../../helpers/registry.ts';
import { makeRkt } from '../../helpers/rkt.ts';
import { suiteScope } from '../../helpers/suite-scope.ts';
import { tempDirectory } from '../../helpers/temp.ts';
import { startTokenServer } from '../../helpers/token-server.ts';
import { startService, type TestService } from '../../helpers/torrent-service.ts';
import { tarBytes } from '../../../src/tar/writer.ts';
import { dumpTree, mountImage, stackUp, unpack } from '../../layers/overlay-check.ts';

const TORRENT = { accept: 'application/x-bittorrent' };
const SERVER = 'quay.example';
const arch = process.arch === 'x64' ? 'amd64' : 'aarch64';
const aciPath = (name: string, kind: 'aci' | 'aci.asc' = 'aci'): string =>
  `/c1/aci/${SERVER}/${name.replace(':', '/')}/${kind}/linux/${arch}/`;

describe('an ACI', () => {
  const scope = suiteScope();
  let layout: TestLayout;
  let built: BuiltImage;
  let service: TestService;

  before(async () => {
    layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
    built = await layout.addImage(
      { layers: [randomLayer(2_000_000, 'a'), randomLayer(500_000, 'b')] },
      'team/app:1.0',
    );
    await layout.addImage({ layers: [randomLayer(1000, 's')], architecture: 's390x' }, 'team/app:s390x');
    await layout.addIndex(
      [
        { layers: [randomLayer(1000, 'arm7')], architecture: 'arm', variant: 'v7' },
        { layers: [randomLayer(1000, 'amd')], architecture: 'amd64' },
      ],
      'team/app:many',
    );
    service = await startService(scope, { upstream: `oci:${layout.directory}`, aliases: [SERVER] });
  });

  const get = (path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
    fetch(service.url + path, { headers });
  const bytesAt = async (path: string): Promise<Buffer> => Buffer.from(await (await get(path)).arrayBuffer());

  test('its torrent states digest, length and image ID of what the same URL gives', async () => {
    const path = aciPath('team/app:1.0');
    const torrent = await get(`${path}?wait=60&ns=${SERVER}`, TORRENT);
    assert.equal(torrent.status, 200);
    assert.equal(torrent.headers.get('quay-torrent'), '1');
    const { digest, imageId, geometry } = decodeTorrent(Buffer.from(await torrent.arrayBuffer()));
    const aci = await bytesAt(path);
    assert.equal(digestOf(aci), digest);
    assert.equal(aci.length, geometry.length);
    const sha512 = createHash('sha512').update(gunzipSync(aci)).digest('hex');
    assert.equal(imageId, `sha512-${sha512.slice(0, 64)}`);
  });

  test('Range, HEAD and ETag; without the slash at the end, too', async () => {
    const path = aciPath('team/app:1.0');
    const whole = await bytesAt(path.replace(/\/$/, ''));
    const part = await get(path, { range: 'bytes=100-199' });
    assert.equal(part.status, 206);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), whole.subarray(100, 200));
    const head = await fetch(service.url + path, { method: 'HEAD' });
    // rkt goes on with a partial file that is younger than this.
    const modified = Date.parse(head.headers.get('last-modified') ?? '');
    assert.ok(modified <= Date.now() && modified > Date.now() - 3_600_000);
    assert.equal(head.headers.get('content-length'), String(whole.length));
    const etag = head.headers.get('etag') ?? '';
    assert.equal((await get(path, { 'if-none-match': etag })).status, 304);
  });

  test('it and its signature are made once and kept; the tar is the same wherever it is made', async (t) => {
    const aci = await bytesAt(aciPath('team/app:1.0'));
    const signature = await bytesAt(aciPath('team/app:1.0', 'aci.asc'));
    const options = { upstream: `oci:${layout.directory}`, aliases: [SERVER] };
    const again = await startService(t, { ...options, dataDirectory: service.data });
    const at = async (url: string, kind: 'aci' | 'aci.asc'): Promise<Buffer> =>
      Buffer.from(await (await fetch(url + aciPath('team/app:1.0', kind))).arrayBuffer());
    assert.deepEqual(await at(again.url, 'aci'), aci);
    assert.deepEqual(await at(again.url, 'aci.asc'), signature);
    assert.equal(again.events.filter(({ kind }) => kind === 'deriving').length, 0);
    const other = await startService(t, options);
    assert.deepEqual(gunzipSync(await at(other.url, 'aci')), gunzipSync(aci));
  });

  test(
    'rkt takes it, with the signature; the manifest comes first',
    { skip: skipWithout('gpg') },
    async (t) => {
      const folder = await tempDirectory(t);
      const [key, file] = [join(folder, 'key.asc'), join(folder, 'app.aci')];
      await writeFile(key, await bytesAt('/aci-signing-key'));
      await writeFile(file, await bytesAt(aciPath('team/app:1.0')));
      await writeFile(`${file}.asc`, await bytesAt(aciPath('team/app:1.0', 'aci.asc')));
      const rkt = await makeRkt(t);
      await rkt.trust(key, SERVER);
      const { code, stderr } = await rkt.run('fetch', file);
      assert.equal(code, 0, stderr);
      assert.ok((await rkt.images()).has(`${SERVER}/team/app:1.0`));
      const [first, second] = (await mustRun('tar', ['-tzf', file])).split('\n');
      assert.deepEqual([first, second], ['manifest', 'rootfs/']);
    },
  );

  test('the platform that is asked for is what comes, under its label, or nothing does', async () => {
    const labelsOf = async (path: string): Promise<Record<string, string>> => {
      const tar = gunzipSync(await bytesAt(path));
      const size = Number.parseInt(tar.toString('latin1', 124, 135), 8);
      const { labels } = JSON.parse(tar.toString('utf8', 512, 512 + size)) as {
        labels: { name: string; value: string }[];
      };
      return Object.fromEntries(labels.map(({ name, value }) => [name, value]));
    };
    const many = `/c1/aci/${SERVER}/team/app/many/aci/linux`;
    assert.deepEqual(await labelsOf(`${many}/armv7l/`), { version: 'many', os: 'linux', arch: 'armv7l' });
    assert.deepEqual(await labelsOf(`${many}/amd64/`), { version: 'many', os: 'linux', arch: 'amd64' });
    assert.equal((await get(`${many}/s390x/`)).status, 404);
    assert.equal((await get(aciPath('team/app:s390x'))).status, 404);
    assert.equal((await get(aciPath('team/app:s390x').replace(`${arch}/`, 's390x/'))).status, 200);
  });

  const PATHS: readonly (readonly [string, string])[] = [
    ['another server', aciPath('team/app:1.0').replace(SERVER, 'quay.io')],
    ['another registry in ns', `${aciPath('team/app:1.0')}?ns=quay.io`],
    ['no such tag', aciPath('team/app:2.0')],
    ['no such repository', aciPath('team/other:1.0')],
    ['a name that is none', aciPath('Team/app:1.0')],
    ['an arch that rkt refuses', aciPath('team/app:1.0').replace(`${arch}/`, 'x86_64/')],
    ['an os that rkt refuses', aciPath('team/app:1.0').replace('linux', 'windows')],
    ['something else', aciPath('team/app:1.0').replace('/aci/linux', '/tar/linux')],
    ['too little', `/c1/aci/${SERVER}/aci/linux/amd64/`],
  ];
  for (const [what, path] of PATHS) {
    test(`404 for ${what}`, async () => {
      const answer = await get(path);
      assert.equal(answer.status, 404);
      assert.equal(answer.headers.get('quay-torrent'), '1');
    });
  }

  test('an image that is being made: its signature is waited for, as it is itself; 202 for those who say how long they wait', async (t) => {
    const slow = await TestLayout.create(await tempDirectory(t, 'layout'));
    await slow.addImage({ layers: [randomLayer(40_000_000, 'slow')] }, 'team/slow:1');
    const { url } = await startService(t, { upstream: `oci:${slow.directory}`, aliases: [SERVER] });
    const signature = fetch(url + aciPath('team/slow:1', 'aci.asc'));
    const asc = await fetch(`${url}${aciPath('team/slow:1', 'aci.asc')}?wait=0`);
    assert.equal(asc.status, 202);
    assert.equal(asc.headers.get('retry-after'), '1');
    const progress = (await asc.json()) as Record<string, number>;
    assert.ok((progress['etaSeconds'] ?? -1) >= 0 && (progress['size'] ?? 0) > 40_000_000);
    assert.equal((await fetch(`${url}${aciPath('team/slow:1')}`, { headers: TORRENT })).status, 202);
    const image = await fetch(url + aciPath('team/slow:1'));
    assert.equal(image.status, 200);
    await image.body?.cancel();
    assert.equal((await signature).status, 200);
    assert.equal(built.layers.length, 2);
  });

  test(
    'a password alone is enough, also where the registry wants tokens; a wrong one, or none, is not',
    { skip: skipWithout('docker-registry') },
    async (t) => {
      const tokens = await startTokenServer(t, { users: { me: 's3cret' } });
      const registry = await startRegistry(t, { auth: tokens.auth });
      const authorization = tokens.authorization('repository:team/app:pull,push');
      await pushImage(layout, built.manifest, {
        ...{ url: registry.url, repository: 'team/app', tag: '1.0' },
        authorization,
      });
      const { url } = await startService(t, { upstream: registry.url, aliases: [SERVER] });
      const ask = async (pair?: string): Promise<number> => {
        const shown = pair && { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
        const answer = await fetch(url + aciPath('team/app:1.0'), { headers: shown || {} });
        await answer.body?.cancel();
        return answer.status;
      };
      assert.equal(await ask(), 401);
      assert.equal(await ask('me:wrong'), 401);
      assert.equal(await ask('me:s3cret'), 200);
      assert.equal(await ask('me:wrong'), 401);
    },
  );
});

test(
  'what rkt unpacks is what overlayfs shows of the layers in a real Docker Engine, and links for /dev',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry') },
  async (t) => {
    const folder = await tempDirectory(t, 'aci');
    const layers = await Promise.all(
      stackUp(Array.from({ length: 20 }, (_, at) => at)).map(async (entries, at) => {
        const tarFile = join(folder, `layer-${at}.tar`);
        await writeFile(tarFile, tarBytes(each(entries)));
        return { tarFile };
      }),
    );
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const { manifest } = await layout.addImage({ layers });
    const registry = await startRegistry(t);
    await pushImage(layout, manifest, { url: registry.url, repository: 'team/odd', tag: '1' });
    const { url } = await startService(t, { upstream: registry.url, aliases: [SERVER] });

    const file = join(folder, 'odd.aci');
    const answer = await fetch(url + aciPath('team/odd:1'));
    await writeFile(file, gunzipSync(Buffer.from(await answer.arrayBuffer())));
    const ours = await dumpTree(join(await unpack(file, join(folder, 'unpacked')), 'rootfs'));

    const dockerd = await startDockerd(t);
    const pulled = await dockerd.docker('pull', `${registry.host}/team/odd:1`);
    assert.equal(pulled.code, 0, pulled.stderr);
    const mount = await mountImage(dockerd, `${registry.host}/team/odd:1`, join(folder, 'mount'));
    const theirs = await dumpTree(mount);
    assert.ok(theirs.length > 200, `${theirs.length} paths`);
    const links = ours.filter(({ path }) => /^dev(?:\/|$)/.test(path));
    assert.deepEqual(
      links.map(({ path, link }) => `${path} ${String(link)}`),
      [
        'dev null',
        'dev/fd /proc/self/fd',
        'dev/stderr /dev/console',
        'dev/stdin /proc/self/fd/0',
        'dev/stdout /dev/console',
      ],
    );
    assert.deepEqual(
      ours.filter((entry) => !links.includes(entry)),
      theirs,
    );
  },
);

async function* each<T>(all: readonly T[]): AsyncGenerator<T> {
  yield* all;
}
