import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { encodeTorrent, decodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { randomLayer, TestLayout, type BuiltImage } from '../helpers/images.ts';
import { mustRun, startProcess } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';

interface Sample {
  readonly service: TestService;
  readonly image: BuiltImage;
  readonly blob: Buffer;
  /** As the service gives it, in a file. */
  readonly torrent: string;
  readonly metainfo: Metainfo;
}

async function sample(t: TestContext): Promise<Sample> {
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(3_000_000, 'a')] }, 'team/app:1.0');
  const digest = image.layers[0]?.digest ?? '';
  const service = await startService(t, { upstream: `oci:${layout.directory}` });
  const answer = await service.torrent('team/app', digest);
  const bytes = Buffer.from(await answer.arrayBuffer());
  const torrent = join(await tempDirectory(t, 'torrent'), 'blob.torrent');
  await writeFile(torrent, bytes);
  return { service, image, blob: await layout.blob(digest), torrent, metainfo: decodeTorrent(bytes) };
}

interface CopiedIndex {
  readonly manifests: readonly { readonly digest: string }[];
}

/** The same torrent without its web seed, so that every byte must come from peers. */
async function withoutWebSeed({ torrent, metainfo }: Sample): Promise<string> {
  const path = `${torrent}.peers`;
  await writeFile(path, encodeTorrent(metainfo.infoBytes, { announce: metainfo.announce }));
  return path;
}

/** Reads until the file is whole, or fails after 30 s. */
async function whole(path: string, blob: Buffer): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await readFile(path).catch(() => Buffer.alloc(0))).equals(blob)) {
    if (performance.now() > deadline) assert.fail(`${path} is not whole`);
    await sleep(100);
  }
}

const ARIA2 = ['--no-conf', '--enable-dht=false', '--bt-enable-lpd=false', '--listen-port=21000-21999'];

test('aria2 downloads from the web seed alone', { skip: skipWithout('aria2c') }, async (t) => {
  const { torrent, metainfo, blob } = await sample(t);
  const out = await tempDirectory(t, 'leech');
  await mustRun(programPath('aria2c'), [...ARIA2, '--dir', out, '--seed-time=0', torrent]);
  assert.deepEqual(await readFile(join(out, metainfo.name)), blob);
});

test(
  'aria2 seeds through the tracker, and another aria2 downloads from it alone',
  { skip: skipWithout('aria2c') },
  async (t) => {
    const made = await sample(t);
    const torrent = await withoutWebSeed(made);
    const [seed, leech] = [await tempDirectory(t, 'seed'), await tempDirectory(t, 'leech')];
    await writeFile(join(seed, made.metainfo.name), made.blob);
    const seeder = startProcess(programPath('aria2c'), [
      ...ARIA2,
      '--dir',
      seed,
      '--check-integrity=true',
      '--seed-ratio=0.0',
      torrent,
    ]);
    t.after(() => seeder.kill().then(() => undefined));
    while (!made.service.events.some((event) => event.kind === 'request' && event.path === '/announce'))
      await sleep(50);
    await mustRun(programPath('aria2c'), [
      ...ARIA2,
      '--dir',
      leech,
      '--seed-time=0',
      '--bt-stop-timeout=30',
      torrent,
    ]);
    assert.deepEqual(await readFile(join(leech, made.metainfo.name)), made.blob);
  },
);

/** Downloads a torrent of python3-libtorrent's and stays as a seed: TORRENT FOLDER. */
const LIBTORRENT = `
import sys, time, libtorrent as lt
session = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False,
  'enable_upnp': False, 'enable_natpmp': False, 'allow_multiple_connections_per_ip': True, 'ssrf_mitigation': False})
handle = session.add_torrent({'ti': lt.torrent_info(sys.argv[1]), 'save_path': sys.argv[2]})
while not handle.status().is_seeding: time.sleep(0.05)
print('seeding', flush=True)
time.sleep(60)
`;

test(
  'libtorrent downloads from the web seed alone, then seeds to aria2',
  { skip: skipWithout('python3-libtorrent', 'aria2c') },
  async (t) => {
    const made = await sample(t);
    const [first, second] = [await tempDirectory(t, 'libtorrent'), await tempDirectory(t, 'leech')];
    const seeder = startProcess('/usr/bin/python3', ['-c', LIBTORRENT, made.torrent, first]);
    t.after(() => seeder.kill('SIGKILL').then(() => undefined));
    await seeder.waitFor(/seeding/);
    assert.deepEqual(await readFile(join(first, made.metainfo.name)), made.blob);
    await mustRun(programPath('aria2c'), [
      ...ARIA2,
      '--dir',
      second,
      '--seed-time=0',
      '--bt-stop-timeout=30',
      await withoutWebSeed(made),
    ]);
    assert.deepEqual(await readFile(join(second, made.metainfo.name)), made.blob);
  },
);

test(
  'transmission downloads from the web seed alone',
  { skip: skipWithout('transmission-daemon') },
  async (t) => {
    const made = await sample(t);
    const home = await tempDirectory(t, 'transmission');
    const watch = await tempDirectory(t, 'watch');
    const settings = {
      'rpc-enabled': false,
      'dht-enabled': false,
      'lpd-enabled': false,
      'port-forwarding-enabled': false,
      'peer-port-random-on-start': true,
    };
    await writeFile(join(home, 'settings.json'), JSON.stringify(settings));
    const flags = [
      '--foreground',
      '--config-dir',
      home,
      '--download-dir',
      home,
      '--watch-dir',
      watch,
      '--no-incomplete-dir',
    ];
    const daemon = startProcess(programPath('transmission-daemon'), flags);
    t.after(() => daemon.kill('SIGKILL').then(() => undefined));
    await copyFile(made.torrent, join(watch, 'blob.torrent'));
    await whole(join(home, made.metainfo.name), made.blob);
  },
);

test(
  'skopeo copies an image through the service, from a layout and from a registry',
  { skip: skipWithout('skopeo', 'docker-registry') },
  async (t) => {
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const image = await layout.addImage({ layers: [randomLayer(100_000, 'a')] }, 'team/app:1.0');
    const registry = await startRegistry(t);
    await pushImage(layout, image.manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    for (const upstream of [`oci:${layout.directory}`, registry.url]) {
      const service = await startService(t, { upstream });
      const out = join(await tempDirectory(t, 'copy'), 'out');
      const from = `docker://${service.host}/team/app:1.0`;
      await mustRun(programPath('skopeo'), ['copy', '--src-tls-verify=false', from, `oci:${out}:x`]);
      const index = JSON.parse(await readFile(join(out, 'index.json'), 'utf8')) as CopiedIndex;
      assert.equal(index.manifests[0]?.digest, image.manifest.digest);
    }
  },
);

test(
  'docker pulls an image through the service, from a layout and from a registry',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry') },
  async (t) => {
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const image = await layout.addImage(
      { layers: [randomLayer(100_000, 'a'), randomLayer(10, 'b')] },
      'team/app:1.0',
    );
    const registry = await startRegistry(t);
    await pushImage(layout, image.manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    const dockerd = await startDockerd(t);
    for (const upstream of [`oci:${layout.directory}`, registry.url]) {
      const service = await startService(t, { upstream });
      const pulled = await dockerd.docker('pull', `${service.host}/team/app:1.0`);
      assert.equal(pulled.code, 0, pulled.stderr);
      assert.match(pulled.stdout, new RegExp(`Digest: ${image.manifest.digest}`));
      await dockerd.docker('rmi', `${service.host}/team/app:1.0`);
    }
  },
);
