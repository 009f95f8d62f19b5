import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import { mustRun, run, startProcess, type Output, type RunningProcess } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { artefact } from './artefacts.ts';
import { amd64Root } from './image-root.ts';

const WAIT_MS = 60_000;

describe('one file, in a root with glibc, libstdc++ and libgcc alone', { skip: skipWithout('root') }, () => {
  const scope = suiteScope();
  let root: string;
  let service: RunningProcess;
  let host: string;

  /** Nothing but these variables: no HOME, no PATH to anything. */
  const inside = (home: string, args: readonly string[]): [string, string[], { env: NodeJS.ProcessEnv }] => [
    '/usr/sbin/chroot',
    [root, '/quayctl', ...args],
    { env: { HOME: home } },
  ];
  const quayctl = (home: string, ...args: string[]): Promise<Output> => run(...inside(home, args));

  before(async () => {
    root = await amd64Root(scope);
    await copyFile(artefact('quayctl-VERSION-linux-amd64'), join(root, 'quayctl'));
    for (const home of ['serve', 'pull', 'seed']) await mkdir(join(root, home), { mode: 0o700 });
    const layout = await TestLayout.create(join(root, 'images'));
    await layout.addImage({ layers: [randomLayer(3_000_000, 'a'), randomLayer(1000, 'b')] }, 'team/app:1.0');
    service = startProcess(
      ...inside('/serve', [
        'serve',
        '--upstream',
        'oci:/images',
        '--listen',
        '127.0.0.1:0',
        '--admin-listen',
        'none',
      ]),
    );
    scope.after(async () => void (await service.kill('SIGTERM')));
    [, host = ''] = await service.waitFor(/^http:\/\/(\S+)$/m, WAIT_MS);
  });

  test('nothing else is there', async () => {
    assert.deepEqual((await readdir(join(root, 'usr'))).toSorted(), ['lib', 'share']);
    await assert.rejects(readdir(join(root, 'bin')));
  });

  test('pulls, and says that the bytes are right', async () => {
    const pulled = await quayctl(
      '/pull',
      'torrent',
      'pull',
      `${host}/team/app:1.0`,
      '--output',
      '/pull/out',
      '--json',
    );
    assert.equal(pulled.code, 0, pulled.stderr);
    const receipt = JSON.parse(pulled.stdout) as { total: { size: number } };
    assert.ok(receipt.total.size > 3_000_000);
    assert.deepEqual((await readdir(join(root, 'pull/out'))).toSorted(), [
      'blobs',
      'index.json',
      'oci-layout',
    ]);
  });

  test('seeds, and another pull takes every byte from it', async () => {
    const seeding = startProcess(
      ...inside('/seed', [
        'torrent',
        'seed',
        `${host}/team/app:1.0`,
        '--no-progress',
        '--announce-ip',
        '127.0.0.1',
      ]),
    );
    try {
      await seeding.waitFor(/[Ss]eeding/, WAIT_MS);
      await mkdir(join(root, 'other'), { mode: 0o700 });
      const pulled = await quayctl(
        '/other',
        'torrent',
        'pull',
        `${host}/team/app:1.0`,
        '--skip-web-seed',
        '--json',
      );
      assert.equal(pulled.code, 0, pulled.stderr);
      const { total } = JSON.parse(pulled.stdout) as { total: { size: number; fromPeers: number } };
      assert.equal(total.fromPeers, total.size);
    } finally {
      await seeding.kill('SIGTERM');
    }
  });

  test('makes a squashed image, and an ACI with its signature', async () => {
    const answer = await fetch(`http://${host}/c1/squash/team/app/1.0`);
    assert.equal(answer.status, 200);
    assert.ok((await answer.arrayBuffer()).byteLength > 3_000_000);
    const key = await fetch(`http://${host}/aci-signing-key`);
    assert.match(await key.text(), /BEGIN PGP PUBLIC KEY/);
  });

  test('has no keychain, and login says where the password goes instead', async () => {
    const [program, args, options] = inside('/pull', [
      'login',
      host,
      '--username',
      'ada',
      '--password-stdin',
    ]);
    const { code, stderr } = await run(program, args, { ...options, input: 'secret\n' });
    assert.equal(code, 0, stderr);
    assert.match(
      stderr,
      /^No keychain: this quayctl is one file[^]*The password goes into \S+\/config\.json/,
    );
  });

  test('obeys no NODE_OPTIONS, which are for programs of somebody else', async () => {
    const env = { NODE_OPTIONS: '--no-such-option' };
    assert.match(await mustRun(artefact('quayctl-VERSION-linux-amd64'), ['version'], { env }), /^quayctl /);
  });
});
