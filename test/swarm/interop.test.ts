import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { skipWithout } from '../helpers/programs.ts';
import { startProcess } from '../helpers/processes.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { emptyStorage, fullStorage, node, sample, startTracker } from './kit.ts';

const never = new AbortController().signal;
const SIZE = 3 * 2 ** 20 + 777;

const ARIA2 = [
  '--no-conf=true',
  '--enable-dht=false',
  '--enable-dht6=false',
  '--bt-enable-lpd=false',
  '--enable-peer-exchange=false',
  '--listen-port=20000-60000',
  '--disable-ipv6=true',
  '--summary-interval=0',
  '--follow-torrent=mem',
];

test('aria2 downloads from our node', { skip: skipWithout('aria2c') }, async (t) => {
  const { url } = await startTracker(t);
  const { metainfo, torrent, content } = sample(SIZE, [url]);
  const directory = await tempDirectory(t, 'aria2');
  await writeFile(join(directory, 'blob.torrent'), torrent);
  const seed = await node(t).join({ metainfo, storage: fullStorage(content), signal: never });
  const args = [...ARIA2, '--seed-time=0', `--dir=${directory}`, join(directory, 'blob.torrent')];
  const aria2 = startProcess('aria2c', args);
  t.after(() => aria2.kill().then(() => {}));
  const { code } = await aria2.exited;
  assert.equal(code, 0, aria2.stdout());
  assert.ok((await readFile(join(directory, metainfo.name))).equals(content));
  assert.ok(seed.stats().uploaded >= content.length);
});

test('our node downloads from aria2', { skip: skipWithout('aria2c') }, async (t) => {
  const { url } = await startTracker(t);
  const { metainfo, torrent, content } = sample(SIZE, [url]);
  const directory = await tempDirectory(t, 'aria2');
  await writeFile(join(directory, 'blob.torrent'), torrent);
  await writeFile(join(directory, metainfo.name), content);
  const args = [
    ...ARIA2,
    '--check-integrity=true',
    '--seed-ratio=0',
    `--dir=${directory}`,
    join(directory, 'blob.torrent'),
  ];
  const aria2 = startProcess('aria2c', args);
  t.after(() => aria2.kill('SIGKILL').then(() => {}));
  const storage = emptyStorage(content.length);
  const swarm = await node(t).join({ metainfo, storage, signal: never });
  await swarm.done;
  assert.ok(storage.bytes.equals(content));
  assert.equal(swarm.stats().fromPeers, content.length);
});

/** libtorrent as a program: MODE (seed, leech) TORRENT DIRECTORY. */
const LIBTORRENT = `
import sys, time, libtorrent as lt
mode, torrent, directory = sys.argv[1:]
session = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False,
  'enable_upnp': False, 'enable_natpmp': False, 'allow_multiple_connections_per_ip': True})
handle = session.add_torrent({'ti': lt.torrent_info(torrent), 'save_path': directory})
while not handle.status().is_seeding: time.sleep(0.05)
print('seeding', flush=True)
if mode == 'seed':
  while True: time.sleep(1)
`;

for (const mode of ['leech', 'seed'] as const) {
  const name = mode === 'leech' ? 'libtorrent downloads from our node' : 'our node downloads from libtorrent';
  test(name, { skip: skipWithout('python3-libtorrent') }, async (t) => {
    const { url } = await startTracker(t);
    const { metainfo, torrent, content } = sample(SIZE, [url]);
    const directory = await tempDirectory(t, 'libtorrent');
    await writeFile(join(directory, 'blob.torrent'), torrent);
    if (mode === 'seed') await writeFile(join(directory, metainfo.name), content);
    const ours = mode === 'leech' ? fullStorage(content) : emptyStorage(content.length);
    const swarm = await node(t).join({ metainfo, storage: ours, signal: never });
    const python = startProcess('/usr/bin/python3', [
      '-c',
      LIBTORRENT,
      mode,
      join(directory, 'blob.torrent'),
      directory,
    ]);
    t.after(() => python.kill('SIGKILL').then(() => {}));
    await python.waitFor(/seeding/, 60_000);
    await swarm.done;
    assert.ok(ours.bytes.equals(content));
    assert.ok((await readFile(join(directory, metainfo.name))).equals(content));
  });
}
