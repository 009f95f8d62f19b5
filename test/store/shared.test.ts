import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { mustRun } from '../helpers/processes.ts';
import { randomLayer } from '../helpers/images.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { openStage, verifiedBlobs } from '../helpers/stage.ts';
import { tempDirectory } from '../helpers/temp.ts';

/** Users that exist on every Debian. */
const [NOBODY, GAMES, DAEMON_GROUP] = [65534, 5, 1];
const NEEDS = skipWithout('root', 'docker-registry', 'setpriv');

async function everything(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return [
    directory,
    ...entries.filter((entry) => !entry.isSymbolicLink()).map((entry) => join(entry.parentPath, entry.name)),
  ];
}

async function homeOf(t: Parameters<typeof tempDirectory>[0], uid: number): Promise<string> {
  const home = await tempDirectory(t, 'home');
  await chmod(home, 0o711);
  await chown(home, uid, uid);
  return home;
}

test(
  "a pull as root into another user's store leaves everything to that user",
  { skip: NEEDS },
  async (t) => {
    const stage = await openStage(t);
    const { manifest } = await stage.layout.addImage({ layers: [randomLayer(2_000_000, 'owned')] });
    await stage.push(manifest, 'app:1');
    const home = await homeOf(t, NOBODY);
    const store = join(home, 'store');
    const node = await quayctlNode(t);
    const args = [
      'torrent',
      'pull',
      stage.name('app:1'),
      '--store',
      store,
      '--torrent-service',
      stage.service.url,
    ];
    const pulled = await node.run(args);
    assert.equal(pulled.code, 0, pulled.stderr);
    for (const path of await everything(store)) {
      const { uid, mode } = await stat(path);
      assert.deepEqual([uid, mode & 0o077], [NOBODY, 0], path);
    }
  },
);

test(
  'a store that is shared with a group: two users and root pull into it, one after the other',
  { skip: NEEDS },
  async (t) => {
    const stage = await openStage(t);
    let base = '';
    for (const name of ['a', 'b', 'c']) {
      const specs = [randomLayer(1_500_000, 'base'), randomLayer(1_200_000, name)];
      const { manifest, layers } = await stage.layout.addImage({ layers: specs });
      base = layers[0]?.digest.slice('sha256:'.length) ?? '';
      await stage.push(manifest, `${name}:1`);
    }
    const parent = await homeOf(t, NOBODY);
    const store = join(parent, 'store');
    const root = await quayctlNode(t);
    const shared = await root.run(['store', 'share', '--group', 'daemon', '--store', store]);
    assert.equal(shared.code, 0, shared.stderr);
    const as = async (uid: number, name: string): Promise<void> => {
      const home = await homeOf(t, uid);
      const ids = [`--reuid=${uid}`, `--regid=${uid}`, `--groups=${DAEMON_GROUP}`];
      const launcher = [programPath('setpriv'), ...ids];
      const env = {
        HOME: home,
        XDG_RUNTIME_DIR: home,
        XDG_CACHE_HOME: home,
        XDG_CONFIG_HOME: home,
        XDG_DATA_HOME: home,
      };
      const user = await quayctlNode(t, { launcher, env });
      await chmod(user.home, 0o755);
      await chmod(user.cwd, 0o755);
      const args = [
        'torrent',
        'pull',
        stage.name(`${name}:1`),
        '--store',
        store,
        '--torrent-service',
        stage.service.url,
      ];
      const pulled = await user.run(args, { cwd: '/' });
      assert.equal(pulled.code, 0, pulled.stderr);
    };
    await as(NOBODY, 'a');
    // The first user spoils what the images have in common, so that it looks as before.
    const blob = join(store, 'blobs/sha256', base);
    const before = await stat(blob);
    assert.equal(before.uid, NOBODY);
    await writeFile(blob, Buffer.alloc(before.size, 'x'));
    await utimes(blob, before.atime, before.mtime);
    await as(GAMES, 'b');
    assert.ok((await verifiedBlobs(store)).has(`sha256:${base}`), 'it was hashed, and fetched anew');
    const service = ['--torrent-service', stage.service.url];
    const pulled = await root.run(['torrent', 'pull', stage.name('c:1'), '--store', store, ...service]);
    assert.equal(pulled.code, 0, pulled.stderr);
    for (const path of await everything(store)) {
      const { gid, mode } = await stat(path);
      assert.equal(gid, DAEMON_GROUP, path);
      assert.equal(mode & 0o067, 0o060, path);
    }
    await as(GAMES, 'c');
    const listed = await root.run(['store', 'ls', '--json', '--store', store]);
    assert.equal((JSON.parse(listed.stdout) as unknown[]).length, 3);
  },
);

test('a group that is not there is named', { skip: NEEDS }, async (t) => {
  const node = await quayctlNode(t);
  const shared = await node.run([
    'store',
    'share',
    '--group',
    'no-such-group',
    '--store',
    join(node.home, 's'),
  ]);
  assert.equal(shared.code, 2);
  assert.match(shared.stderr, /no group "no-such-group"/);
});

test(
  'serve rotate-key and serve prepare as root leave the data to the service; rotate-key makes no secret',
  { skip: NEEDS },
  async (t) => {
    const stage = await openStage(t);
    const { manifest } = await stage.layout.addImage({ layers: [randomLayer(2_000_000, 'prepared')] });
    await stage.push(manifest, 'app:1');
    const home = await homeOf(t, NOBODY);
    const data = join(home, 'data');
    await mkdir(data, { mode: 0o700 });
    await chown(data, NOBODY, NOBODY);
    const node = await quayctlNode(t);
    const upstream = ['--upstream', stage.registry.url, '--data', data];
    const early = await node.run(['serve', 'rotate-key', ...upstream]);
    assert.equal(early.code, 4, early.stderr);
    assert.match(early.stderr, /no secret file/);
    const prepared = await node.run(['serve', 'prepare', 'app:1', ...upstream]);
    assert.equal(prepared.code, 0, prepared.stderr);
    const user = await quayctlNode(t, {
      launcher: [programPath('setpriv'), `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'],
      env: { HOME: home },
    });
    const serve = user.start(['serve', ...upstream, '--listen', '127.0.0.1:0', '--admin-listen', 'none'], {
      cwd: '/',
    });
    await serve.waitFor(/^http:\S+$/m);
    const rotated = await node.run(['serve', 'rotate-key', ...upstream]);
    assert.equal(rotated.code, 0, rotated.stderr);
    for (const path of await everything(data)) assert.equal((await stat(path)).uid, NOBODY, path);
    await serve.kill('SIGTERM');
    const again = user.start(['serve', ...upstream, '--listen', '127.0.0.1:0', '--admin-listen', 'none'], {
      cwd: '/',
    });
    const [second] = await again.waitFor(/^http:\S+$/m);
    assert.ok(
      (await mustRun('curl', ['-fsS', `${second}/.well-known/jwks.json`])).includes(rotated.stdout.trim()),
    );
  },
);
