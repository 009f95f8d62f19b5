import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { encodeTorrent, decodeTorrent, type Metainfo } from '../../src/metainfo/metainfo.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { mustRun, startProcess, type RunningProcess } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { startRegistry } from '../helpers/registry.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService, type TestService } from '../helpers/torrent-service.ts';
import { emptyStorage, fullStorage, node } from '../swarm/kit.ts';

interface Sample {
  readonly service: TestService;
  readonly blob: Buffer;
  readonly metainfo: Metainfo;
  /** As the service gives it, in a file. */
  readonly torrent: string;
  /** The same without its web seed, so that every byte must come from peers. */
  readonly peersOnly: string;
  /** For a node of ours, which takes nothing but peers here. */
  fresh(): Promise<Metainfo>;
}

/** A private blob: its registry wants a password, and what the clients have is a .torrent and nothing else. */
async function sample(t: TestContext): Promise<Sample> {
  const credential = { kind: 'basic', username: 'robot', password: 'robot-password' } as const;
  const authorization = `Basic ${Buffer.from('robot:robot-password').toString('base64')}`;
  const registry = await startRegistry(t, { auth: { ...credential, kind: 'htpasswd' } });
  const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
  const image = await layout.addImage({ layers: [randomLayer(3_000_000, 'a')] }, 'team/app:1.0');
  const target = { url: registry.url, repository: 'team/app', tag: '1.0', authorization };
  await pushImage(layout, image.manifest, target);
  const digest = image.layers[0]?.digest ?? '';
  const service = await startService(t, {
    upstream: registry.url,
    ownCredential: () => Promise.resolve(credential),
  });
  const bytes = async (): Promise<Uint8Array> =>
    (await service.torrent('team/app', digest, { authorization })).bytes();
  const first = await bytes();
  const metainfo = decodeTorrent(first);
  assert.equal(metainfo.urlList.length, 1);
  const directory = await tempDirectory(t, 'torrent');
  const [torrent, peersOnly] = [join(directory, 'blob.torrent'), join(directory, 'peers.torrent')];
  await writeFile(torrent, first);
  await writeFile(
    peersOnly,
    encodeTorrent(metainfo.infoBytes, {
      announce: metainfo.trackers.map(({ announceUrl }) => announceUrl),
    }),
  );
  const fresh = async (): Promise<Metainfo> => decodeTorrent(await bytes());
  return { service, blob: await layout.blob(digest), metainfo, torrent, peersOnly, fresh };
}

interface CopiedIndex {
  readonly manifests: readonly { readonly digest: string }[];
}

/** Reads until the file is whole, or fails after 60 s. */
async function whole(path: string, blob: Buffer): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await readFile(path).catch(() => Buffer.alloc(0))).equals(blob)) {
    if (performance.now() > deadline) assert.fail(`${path} is not whole`);
    await sleep(100);
  }
}

const accepted = ({ service }: Sample): number =>
  service.events.filter((event) => event.kind === 'announced' && event.outcome === 'accepted').length;

/** Downloads a torrent of python3-libtorrent's and stays as a seed: TORRENT FOLDER. */
const LIBTORRENT = `
import sys, time, libtorrent as lt
session = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False,
  'enable_upnp': False, 'enable_natpmp': False, 'allow_multiple_connections_per_ip': True, 'ssrf_mitigation': False})
handle = session.add_torrent({'ti': lt.torrent_info(sys.argv[1]), 'save_path': sys.argv[2]})
time.sleep(300)
`;

const ARIA2 = ['--no-conf', '--enable-dht=false', '--bt-enable-lpd=false', '--listen-port=21000-21999'];

interface Client {
  readonly needs: string;
  /** Downloads into the folder and seeds until it is killed. */
  readonly start: (torrent: string, folder: string) => Promise<RunningProcess>;
}

const CLIENTS: Readonly<Record<string, Client>> = {
  aria2: {
    needs: 'aria2c',
    start: async (torrent, folder) =>
      startProcess(programPath('aria2c'), [...ARIA2, '--dir', folder, '--seed-ratio=0.0', torrent]),
  },
  libtorrent: {
    needs: 'python3-libtorrent',
    start: async (torrent, folder) => startProcess('/usr/bin/python3', ['-c', LIBTORRENT, torrent, folder]),
  },
  transmission: {
    needs: 'transmission-daemon',
    start: async (torrent, folder) => {
      const settings = {
        'rpc-enabled': false,
        'dht-enabled': false,
        'lpd-enabled': false,
        'port-forwarding-enabled': false,
        'peer-port-random-on-start': true,
      };
      await writeFile(join(folder, 'settings.json'), JSON.stringify(settings));
      const watch = join(folder, 'watch');
      await mkdir(watch);
      const folders = ['--config-dir', folder, '--download-dir', folder, '--watch-dir', watch];
      const daemon = startProcess(programPath('transmission-daemon'), [
        '--foreground',
        '--no-incomplete-dir',
        ...folders,
      ]);
      await copyFile(torrent, join(watch, 'blob.torrent'));
      return daemon;
    },
  },
};

for (const [name, client] of Object.entries(CLIENTS)) {
  test(
    `${name} gets a private blob with nothing but its .torrent, and seeds it to our node`,
    { skip: skipWithout(client.needs, 'docker-registry', 'htpasswd') },
    async (t) => {
      const made = await sample(t);
      const { metainfo, blob } = made;
      const start = async (torrent: string, folder: string): Promise<RunningProcess> => {
        const running = await client.start(torrent, folder);
        t.after(() => running.kill('SIGKILL').then(() => undefined));
        return running;
      };
      const first = await tempDirectory(t, 'first');
      const seeder = await start(made.torrent, first);
      await whole(join(first, metainfo.name), blob);

      while (accepted(made) === 0) await sleep(50);
      const storage = emptyStorage(blob.length);
      const ours = node(t);
      const leech = await ours.join({ metainfo: await made.fresh(), storage, signal: t.signal });
      await leech.done;
      assert.deepEqual(storage.bytes, blob);
      assert.equal(leech.stats().fromPeers, blob.length);
      await ours.close();
      await seeder.kill('SIGKILL');

      // Transmission dials nobody on loopback: our seed comes last, and hears of it at once.
      const second = await tempDirectory(t, 'second');
      const before = accepted(made);
      await start(made.peersOnly, second);
      while (accepted(made) === before) await sleep(50);
      await node(t).join({ metainfo: await made.fresh(), storage: fullStorage(blob), signal: t.signal });
      await whole(join(second, metainfo.name), blob);
    },
  );
}

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
