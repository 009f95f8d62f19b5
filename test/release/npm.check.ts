import assert from 'node:assert/strict';
import { copyFile, cp, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { debianRootTar } from '../helpers/debian.ts';
import { mustRun, run } from '../helpers/processes.ts';
import { programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { artefact, releasedVersion } from './artefacts.ts';

test(
  'npm installs the package alone, and asks nothing, where there is no compiler and no network',
  { skip: skipWithout('root', 'debootstrap', 'unshare') },
  async (t) => {
    const root = await tempDirectory(t, 'no-compiler');
    await mustRun('tar', ['-C', root, '-xf', await debianRootTar()]);
    await copyFile(process.execPath, join(root, 'usr/bin/node'));
    const npm = dirname(
      await mustRun('sh', ['-c', 'dirname "$(readlink -f "$(command -v npm)")"']).then((path) => path.trim()),
    );
    await mkdir(join(root, 'opt'), { recursive: true });
    await cp(npm, join(root, 'opt/npm'), { recursive: true });
    await copyFile(artefact('quayctl-VERSION.tgz'), join(root, 'quayctl.tgz'));

    const env = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/root' };
    const inside = (...command: string[]): ReturnType<typeof run> =>
      run(programPath('unshare'), ['--net', '/usr/sbin/chroot', root, ...command], {
        env,
        input: 'secret\n',
      });
    assert.notEqual((await inside('sh', '-c', 'command -v cc g++ make python3')).code, 0);
    const installed = await inside(
      'node',
      '/opt/npm/bin/npm-cli.js',
      'install',
      '--global',
      '--prefix',
      '/usr/local',
      '/quayctl.tgz',
    );
    assert.equal(installed.code, 0, installed.stderr);
    assert.deepEqual(await readdir(join(root, 'usr/local/lib/node_modules')), ['quayctl']);
    const told = await inside('quayctl', 'version');
    assert.equal(told.stdout, `quayctl ${releasedVersion()}\n`);
    const login = await inside(
      'quayctl',
      'login',
      'registry.example.com',
      '--username',
      'ada',
      '--password-stdin',
    );
    assert.match(login.stderr, /needs keytar[^]*hint: `npm install -g keytar`[^]*docker login/);
  },
);
