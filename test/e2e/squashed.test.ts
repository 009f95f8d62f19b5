import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { digestOf } from '../../src/image/digest.ts';
import { debianRootTar } from '../helpers/debian.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import type { LayerSpec } from '../helpers/layers.ts';
import { startPodman } from '../helpers/podman.ts';
import { startHttpFaultProxy } from '../helpers/fault-proxy.ts';
import { mustRun, type RunningProcess } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { bytesInStore } from '../helpers/progress.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { openStage, parseReceipt, receiptOf, type FailureJson } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { startService } from '../helpers/torrent-service.ts';
import { dumpTree, mountImage, unmount } from '../layers/overlay-check.ts';

const IMAGE = 'team/debian:1.0';
const GREETING = 'hello from one layer\n';

/** Deletes most of a Debian, by name and as opaque directories, and writes over some of the rest. */
const HALF: LayerSpec = {
  entries: [
    ...['usr', 'usr/lib', 'var', 'var/lib', 'etc'].map((name) => ({ name, type: 'directory' as const })),
    ...['usr/.wh.share', 'usr/lib/.wh.python3', 'var/lib/.wh.dpkg', 'etc/.wh.passwd-'].map((name) => ({
      name,
      content: '',
    })),
    { name: 'var/cache/', type: 'directory', mode: 0o700 },
    { name: 'var/cache/.wh..wh..opq', content: '' },
    { name: 'var/cache/new', content: 'new' },
    { name: 'etc/greeting', content: GREETING },
    { name: 'etc/issue', content: 'written over\n' },
  ],
};

test(
  'a Debian with half of it deleted: squashed by the service, given from node to node, the same tree, and it runs',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry', 'debootstrap', 'podman') },
  async (t) => {
    const stage = await openStage(t);
    const run = { Cmd: ['/bin/cat', '/etc/greeting'], Env: ['PATH=/usr/bin:/bin'], Labels: { kept: 'yes' } };
    const image = await stage.layout.addImage({ layers: [{ tarFile: await debianRootTar() }, HALF], run });
    await stage.push(image.manifest, IMAGE);
    const name = stage.name(IMAGE);
    const service = ['--torrent-service', stage.service.url];

    const engine = await startDockerd(t);
    const env = { DOCKER_HOST: engine.dockerHost };
    const [first, second] = [await quayctlNode(t), await quayctlNode(t)];
    const layered = await first.run(['docker', 'torrent', 'pull', name, ...service], { env });
    assert.equal(layered.code, 0, layered.stderr);
    const squashed = await first.run(['docker', 'torrent', 'pull', name, '--squashed', ...service], { env });
    assert.equal(squashed.code, 0, squashed.stderr);
    assert.equal(squashed.stdout, `${name}.squash\n`);
    for (const line of [
      'Starting download of squashed image',
      'Importing squashed image',
      `Successfully pulled squashed image ${name}.squash`,
    ]) {
      assert.ok(squashed.stderr.includes(`${line}\n`), `${line} in ${squashed.stderr}`);
    }

    const mounts = await tempDirectory(t, 'mounts');
    const dumps = [];
    for (const [at, each] of [name, `${name}.squash`].entries()) {
      const mount = await mountImage(engine, each, join(mounts, String(at)));
      dumps.push(await dumpTree(mount));
      await unmount(mount);
    }
    const [theirs = [], ours = []] = dumps;
    assert.deepEqual(
      ours.map(({ path }) => path),
      theirs.map(({ path }) => path),
    );
    ours.forEach((entry, at) => assert.deepEqual(entry, theirs[at]));
    assert.ok(!ours.some(({ path }) => path.startsWith('usr/share')), 'what the layer deletes is gone');
    t.diagnostic(`${ours.length} paths`);
    const ran = await engine.docker('run', '--rm', '--network', 'none', `${name}.squash`);
    assert.deepEqual([ran.stdout, ran.code], [GREETING, 0], ran.stderr);
    const format = '{{len .RootFS.Layers}} {{.Config.Labels.kept}} {{json .Config.Cmd}}';
    const inspected = await engine.docker('image', 'inspect', '--format', format, `${name}.squash`);
    assert.equal(inspected.stdout, '1 yes ["/bin/cat","/etc/greeting"]\n');

    // What the first node has it gives to the second, which is not let near the registry.
    const seed = first.start(['docker', 'torrent', 'seed', name, '--squashed', '--json', ...service], {
      env,
    });
    const seeded = parseReceipt((await seed.waitFor(/^\{.*\}$/m, 60_000))[0]);
    assert.equal(seeded.total.fromStore, seeded.total.size);
    const podman = await startPodman(t);
    const pulled = await second.run(
      ['docker', 'torrent', 'pull', name, '--squashed', '--json', '--skip-web-seed', ...service],
      { env: { DOCKER_HOST: podman.dockerHost } },
    );
    const receipt = receiptOf(pulled);
    assert.deepEqual(
      [receipt.image, receipt.digest, receipt.engine],
      [`${name}.squash`, image.manifest.digest, 'docker'],
    );
    assert.deepEqual([receipt.total.fromPeers, receipt.layers.length], [receipt.total.size, 1]);
    const there = await podman.podman(
      'image',
      'inspect',
      '--format',
      '{{len .RootFS.Layers}}',
      `${name}.squash`,
    );
    assert.equal(there.stdout.trim(), '1', there.stderr);
    assert.equal((await seed.kill('SIGINT')).code, 0);
  },
);

test(
  'pulled by digest, it is named by the digest; what curl gets, docker loads',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry', 'curl') },
  async (t) => {
    const stage = await openStage(t);
    const image = await stage.layout.addImage({
      layers: [randomLayer(100_000, 'a'), randomLayer(1000, 'b')],
    });
    await stage.push(image.manifest, 'team/small:1.0');
    const engine = await startDockerd(t);
    const node = await quayctlNode(t, { env: { DOCKER_HOST: engine.dockerHost } });
    const name = `${stage.name('team/small')}@${image.manifest.digest}`;
    const output = await node.run([
      'docker',
      'torrent',
      'pull',
      name,
      '--squashed',
      '--debug',
      '--torrent-service',
      stage.service.url,
    ]);
    assert.equal(output.code, 0, output.stderr);
    assert.match(output.stderr, /\/ws\//, 'the web seed is asked');
    assert.doesNotMatch(output.stderr, /signature=(?!\[redacted\])|jwt=(?!\[redacted\])/);
    const tag = `sha256-${image.manifest.digest.slice('sha256:'.length, 'sha256:'.length + 12)}.squash`;
    assert.equal(output.stdout, `${stage.name('team/small')}:${tag}\n`);
    const tags = async (): Promise<string[]> => {
      const { stdout } = await engine.docker('images', '--format', '{{.Tag}}');
      return stdout.trim().split('\n').sort();
    };
    assert.deepEqual(await tags(), [tag]);

    const archive = join(node.cwd, 'squashed.tar');
    await mustRun(programPath('curl'), [
      '-fsS',
      '-o',
      archive,
      `${stage.service.url}/c1/squash/team/small/1.0`,
    ]);
    const loaded = await engine.docker('load', '--input', archive);
    assert.match(loaded.stdout, /^Loaded image: \S+\/team\/small:1\.0\.squash$/m, loaded.stderr);
    assert.deepEqual(await tags(), ['1.0.squash', tag]);
  },
);

test(
  'a download that was killed goes on where it stopped',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const stage = await openStage(t);
    const image = await stage.layout.addImage({
      layers: [randomLayer(12_000_000, 'a'), randomLayer(1000, 'b')],
    });
    await stage.push(image.manifest, 'team/large:1.0');
    const node = await quayctlNode(t);
    const args = ['docker', 'torrent', 'seed', stage.name('team/large:1.0'), '--squashed', '--json'];
    const service = ['--torrent-service', stage.service.url];
    const slow = ['--download-rate', '3000'];
    const broken = node.start([...args, ...service, ...slow]);
    await broken.waitFor(/Starting download of squashed image/);
    await until(async () => (await bytesInStore(node.store)) > 1_000_000);
    await broken.kill('SIGKILL');
    const receipt = receiptOf(await node.run([...args, ...service, '--duration', '1s']));
    assert.ok(receipt.total.fromStore > 0 && receipt.total.fromRegistry > 0, JSON.stringify(receipt.total));
  },
);

test(
  'a squashed image whose transfers are cut again and again comes whole, and no byte of it twice',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const { manifest } = await layout.addImage({ layers: [randomLayer(4_000_000, 'a')] });
    const registry = await startRegistry(t);
    await pushImage(layout, manifest, { url: registry.url, repository: 'team/large', tag: '1.0' });
    const place: { url?: string } = {};
    const proxy = await startHttpFaultProxy(t, () => place.url ?? '');
    place.url = (await startService(t, { upstream: registry.url, publicUrl: proxy.url })).url;
    const cuts = 7;
    proxy.faults.push({ match: /^GET \/ws\//, cutAfter: 200_000, times: cuts });
    const node = await quayctlNode(t);
    const name = `${registry.host}/team/large:1.0`;
    const args = ['docker', 'torrent', 'seed', name, '--squashed', '--json', '--torrent-service', proxy.url];
    const { total } = receiptOf(await node.run([...args, '--duration', '0']));
    const transfers = proxy.requests.filter((line) => line.startsWith('GET /ws/'));
    assert.ok(transfers.length > cuts, proxy.requests.join('\n'));
    assert.deepEqual([total.fromRegistry, total.wasted], [total.size, 0]);
  },
);

test(
  'a squashed image stands in `store ls`, is seeded with the rest of the store, and goes with `store rm`',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const stage = await openStage(t);
    const image = await stage.layout.addImage({
      layers: [randomLayer(2_000_000, 'a'), randomLayer(1000, 'b')],
    });
    await stage.push(image.manifest, 'team/app:1.0');
    const name = stage.name('team/app:1.0');
    const service = ['--torrent-service', stage.service.url];
    const node = await quayctlNode(t);
    receiptOf(
      await node.run([
        'docker',
        'torrent',
        'seed',
        name,
        '--squashed',
        '--json',
        '--duration',
        '0',
        ...service,
      ]),
    );
    const listed = JSON.parse((await node.run(['store', 'ls', '--json'])).stdout) as {
      image: string;
      platform: string;
      complete: boolean;
    }[];
    assert.deepEqual(
      listed.map(({ image: each, platform, complete }) => [each, platform, complete]),
      [[`${name}.squash`, 'linux/amd64', true]],
    );
    const seed = node.start(['torrent', 'seed']);
    await seed.waitFor(/Seeding 1 blob until interrupted/);
    const second = await quayctlNode(t);
    const peersOnly = ['--squashed', '--json', '--skip-web-seed', '--duration', '0'];
    const { total } = receiptOf(
      await second.run(['docker', 'torrent', 'seed', name, ...peersOnly, ...service]),
    );
    assert.equal(total.fromPeers, total.size);
    assert.equal((await seed.kill('SIGINT')).code, 0);
    assert.equal((await node.run(['store', 'rm', `${name}.squash`])).code, 0);
    assert.ok((await bytesInStore(node.store)) < 100_000, 'the archive is gone with its name');
  },
);

test(
  'a squashed image that Docker has is not fetched again, and one for another platform not at all',
  { skip: skipWithout('root', 'dockerd', 'docker', 'docker-registry') },
  async (t) => {
    const stage = await openStage(t);
    const image = await stage.layout.addImage({
      layers: [randomLayer(20_000_000, 'a'), randomLayer(1000, 'b')],
    });
    await stage.push(image.manifest, 'team/app:1.0');
    const engine = await startDockerd(t);
    const env = { DOCKER_HOST: engine.dockerHost };
    const name = stage.name('team/app:1.0');
    const args = ['docker', 'torrent', 'pull', name, '--squashed', '--json'];
    const service = ['--torrent-service', stage.service.url];
    receiptOf(await (await quayctlNode(t, { env })).run([...args, ...service]));

    const given = stage.service.traffic.toClient;
    const other = await quayctlNode(t, { env });
    const output = await other.run([...args, ...service, '--platform', 'linux/s390x']);
    assert.equal(output.code, 4, output.stderr);
    const again = receiptOf(await other.run([...args, ...service]));
    assert.equal(again.total.alreadyInEngine, again.total.size);
    const bytes = stage.service.traffic.toClient - given;
    assert.ok(bytes < again.total.size / 2, `${bytes} bytes of ${again.total.size}`);
  },
);

test(
  'where nobody makes squashed images, that is said, with what to do',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const stage = await openStage(t);
    const image = await stage.layout.addImage({ layers: [randomLayer(1000, 'a')] });
    await stage.push(image.manifest, 'team/small:1.0');
    const node = await quayctlNode(t);
    const output = await node.run([
      'docker',
      'torrent',
      'seed',
      stage.name('team/small:1.0'),
      '--squashed',
      '--json',
      '--duration',
      '1s',
    ]);
    const { error, exitCode } = JSON.parse(output.stdout) as FailureJson;
    assert.deepEqual([output.code, exitCode, error.code], [1, 1, 'no-torrent']);
    assert.match(
      error.message,
      /^the squashed image of sha256:[0-9a-f]{12} is not available: \S+ serves no torrents$/,
    );
    assert.match(error.hint ?? '', /--torrent-service URL/);
  },
);

test(
  'an image that cannot be squashed is told with the reason, and without advice that would not help',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const stage = await openStage(t);
    const image = await stage.layout.addImage({ layers: [{ entries: [{ name: 'a' }, { name: 'a/b' }] }] });
    await stage.push(image.manifest, 'team/bad:1.0');
    const node = await quayctlNode(t);
    const args = ['docker', 'torrent', 'seed', stage.name('team/bad:1.0'), '--squashed', '--json'];
    const output = await node.run([...args, '--torrent-service', stage.service.url]);
    const { error } = JSON.parse(output.stdout) as FailureJson;
    assert.deepEqual([output.code, error.code, error.hint], [1, 'no-torrent', undefined]);
    assert.match(error.message, /layer sha256:[0-9a-f]{12}: "a" is to be a directory, and "a" is none/);
  },
);

test(
  'bytes that are not what the torrent says are not loaded',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const { manifest } = await layout.addImage({ layers: [randomLayer(100_000, 'a')] });
    const registry = await startRegistry(t);
    await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    const service = await startService(t, { upstream: registry.url });
    const made = await fetch(`${service.url}/c1/squash/team/app/${manifest.digest}`);
    const file = join(
      service.data,
      'derived/files',
      digestOf(Buffer.from(await made.arrayBuffer())).slice(7),
    );
    // In place: a file that is cut short for a moment would be made anew.
    const handle = await open(file, 'r+');
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 5000);
    await handle.write(Buffer.of((buffer[0] ?? 0) ^ 1), 0, 1, 5000);
    await handle.close();

    const node = await quayctlNode(t);
    const args = ['docker', 'torrent', 'seed', `${registry.host}/team/app:1.0`, '--squashed', '--json'];
    const output = await node.run([...args, '--torrent-service', service.url, '--duration', '1s']);
    const { error } = JSON.parse(output.stdout) as FailureJson;
    assert.deepEqual([output.code, error.code], [6, 'verification'], output.stderr);
  },
);

test(
  'a service that is killed and started again goes on, and so does the pull that waits for it',
  { skip: skipWithout('docker-registry') },
  async (t) => {
    const layout = await TestLayout.create(await tempDirectory(t, 'layout'));
    const layers = [randomLayer(3_000_000, 'a'), randomLayer(3_000_000, 'b')];
    const { manifest, layers: built } = await layout.addImage({ layers });
    const registry = await startRegistry(t);
    await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    const proxy = await startHttpFaultProxy(t, registry.url);
    proxy.link.bytesPerSecond = 5e5;
    const server = await quayctlNode(t);
    const serve = (listen: string): RunningProcess =>
      server.start(['serve', '--upstream', proxy.url, '--alias', registry.host, '--listen', listen]);
    const first = serve('127.0.0.1:0');
    const [url] = await first.waitFor(/^http:\S+$/m);

    const node = await quayctlNode(t);
    const args = ['docker', 'torrent', 'seed', `${registry.host}/team/app:1.0`, '--squashed', '--json'];
    const pull = node.start([...args, '--torrent-service', url, '--duration', '1s']);
    const reads = ({ digest }: { digest: string } = { digest: '' }): number =>
      proxy.requests.filter((line) => line.startsWith('GET') && line.includes(digest)).length;
    // Who has heard that it is being made waits for a service that is away.
    await pull.waitFor(/The service makes the image/);
    // The first layer is whole when the second one is asked for; what is here of that is not.
    await until(() => proxy.traffic.toClient > 4_000_000);
    await first.kill('SIGKILL');
    proxy.link.bytesPerSecond = Infinity;
    await serve(new URL(url).host).waitFor(/^http:\S+$/m);
    const { code } = await pull.exited;
    assert.equal(code, 0, pull.stderr());
    assert.equal(parseReceipt(pull.stdout()).total.wasted, 0);
    assert.equal(reads(built[0]), 1, proxy.requests.join('\n'));
    assert.equal(reads(built[1]), 2);
  },
);

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20);
}
