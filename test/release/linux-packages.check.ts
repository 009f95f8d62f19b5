import assert from 'node:assert/strict';
import { appendFile, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { makeLinuxPackages } from '../../scripts/packaging/linux-packages.ts';
import { debianRootTar } from '../helpers/debian.ts';
import { mustRun, run, type Output, type Scope } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { artefact, releasedVersion } from './artefacts.ts';

const UNITS = ['quayctl-seed', 'quayctl-serve', 'quayctl-mirror'];

/** A machine of its own: a Debian without systemd running, or compilers. */
interface Machine {
  readonly root: string;
  inside(...command: readonly string[]): Promise<Output>;
  mustInside(...command: readonly string[]): Promise<string>;
}

async function machine(scope: Scope): Promise<Machine> {
  const root = await tempDirectory(scope, 'debian');
  await mustRun('tar', ['-C', root, '-xf', await debianRootTar()]);
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', DEBIAN_FRONTEND: 'noninteractive' };
  const words = (command: readonly string[]): string[] => [root, ...command];
  return {
    root,
    inside: (...command) => run('/usr/sbin/chroot', words(command), { env }),
    mustInside: (...command) => mustRun('/usr/sbin/chroot', words(command), { env }),
  };
}

/** The release before this one, as far as packages can tell: its program is a script. */
async function olderPackages(scope: Scope): Promise<readonly string[]> {
  const work = await tempDirectory(scope, 'older');
  const program = join(work, 'program');
  await writeFile(program, '#!/bin/sh\necho quayctl 0.0.9\n', { mode: 0o755 });
  await mkdir(join(work, 'man'));
  await writeFile(join(work, 'man/quayctl.1'), '.TH QUAYCTL 1\n');
  const staged = {
    program,
    manPages: join(work, 'man'),
    completions: { bash: '', zsh: '', fish: '' },
    licenses: 'Apache-2.0',
  };
  const facts = { version: '0.0.9', commit: '', epoch: 1_700_000_000 };
  return makeLinuxPackages('amd64', staged, facts, join(work, 'packages'), work);
}

describe('the Debian package', { skip: skipWithout('root', 'debootstrap', 'lintian', 'go:nfpm') }, () => {
  const scope = suiteScope();
  let debian: Machine;

  before(async () => {
    debian = await machine(scope);
    const [older = ''] = await olderPackages(scope);
    await copyFile(older, join(debian.root, 'older.deb'));
    await copyFile(artefact('quayctl_VERSION_amd64.deb'), join(debian.root, 'this.deb'));
  });

  test('has no errors in the eyes of lintian', async () => {
    for (const architecture of ['amd64', 'arm64']) {
      const args = ['--fail-on', 'error', '--allow-root', artefact(`quayctl_VERSION_${architecture}.deb`)];
      const { code, stdout, stderr } = await run('lintian', args);
      assert.equal(code, 0, stdout + stderr);
    }
  });

  test('installs: program, units, man pages, completions, users; nothing is enabled', async () => {
    await debian.mustInside('dpkg', '--install', '/older.deb');
    assert.equal(await debian.mustInside('quayctl', 'version'), 'quayctl 0.0.9\n');
    const id = await debian.mustInside('id', 'quayctl');
    assert.match(id, /\(quayctl\) gid=\d+\(quayctl\)/);
    assert.match(await debian.mustInside('getent', 'passwd', 'quayctl-serve'), /nologin$/m);
    const owner = await debian.mustInside('stat', '--format', '%U %G %a', '/etc/quayctl/serve.env');
    assert.equal(owner, 'root quayctl-serve 640\n');
    const enabled = await debian.inside('sh', '-c', 'ls /etc/systemd/system/*.wants/quayctl*');
    assert.notEqual(enabled.code, 0, enabled.stdout);
  });

  test('upgrades: what the operator changed in /etc stays', async () => {
    await appendFile(join(debian.root, 'etc/quayctl/config.yaml'), 'seed-after: 5m\n');
    await mkdir(join(debian.root, 'var/lib/quayctl-serve'));
    await writeFile(join(debian.root, 'var/lib/quayctl-serve/secret.json'), '{}');
    await debian.mustInside('dpkg', '--install', '/this.deb');
    assert.equal(await debian.mustInside('quayctl', 'version'), `quayctl ${releasedVersion()}\n`);
    assert.match(await debian.mustInside('quayctl', 'config'), /seed-after.*5m/);
    const listed = await debian.mustInside('dpkg', '--listfiles', 'quayctl');
    for (const unit of UNITS) assert.match(listed, new RegExp(`/systemd/system/${unit}\\.service`));
    for (const path of [
      '/usr/share/man/man1/quayctl-docker-torrent-pull.1.gz',
      '/usr/share/bash-completion/completions/quayctl',
      '/usr/share/zsh/vendor-completions/_quayctl',
      '/usr/share/fish/vendor_completions.d/quayctl.fish',
    ])
      assert.ok(listed.includes(path), path);
  });

  test('its units start the program of the package, as users that are there', async () => {
    for (const unit of UNITS) {
      const text = await readFile(join(debian.root, `usr/lib/systemd/system/${unit}.service`), 'utf8');
      assert.match(text, /^ExecStart=\/usr\/bin\/quayctl /m);
      const [, user = ''] = /^User=(.*)$/m.exec(text) ?? [];
      await debian.mustInside('getent', 'passwd', user);
    }
  });

  test('removed, it leaves its settings; purged, nothing but data and the user who owns it', async () => {
    await debian.mustInside('dpkg', '--remove', 'quayctl');
    await debian.mustInside('test', '-e', '/etc/quayctl/config.yaml');
    assert.notEqual((await debian.inside('quayctl', 'version')).code, 0);
    await debian.mustInside('dpkg', '--purge', 'quayctl');
    const find = [
      'find',
      '/etc',
      '/usr',
      '/var',
      '-name',
      '*quayctl*',
      '-not',
      '-path',
      '/var/lib/quayctl-serve*',
    ];
    assert.equal(await debian.mustInside(...find), '');
    await debian.mustInside('test', '-e', '/var/lib/quayctl-serve/secret.json');
    await debian.mustInside('getent', 'passwd', 'quayctl-serve');
    assert.notEqual((await debian.inside('getent', 'passwd', 'quayctl')).code, 0, 'who owns nothing is gone');
  });
});

describe('the RPM package', { skip: skipWithout('root', 'debootstrap', 'rpm', 'go:nfpm') }, () => {
  const scope = suiteScope();

  test('reads back: checksums, files, settings that stay, what it needs', async () => {
    for (const [architecture, name] of [
      ['amd64', 'x86_64'],
      ['arm64', 'aarch64'],
    ] as const) {
      const path = artefact(`quayctl_VERSION_${architecture}.rpm`);
      await mustRun('rpm', ['--checksig', '--nosignature', path]);
      const ask = (...args: string[]): Promise<string> =>
        mustRun('rpm', ['--query', '--package', path, ...args]);
      assert.equal(await ask('--queryformat', '%{NAME} %{ARCH} %{LICENSE}'), `quayctl ${name} Apache-2.0`);
      const files = await ask('--list');
      for (const unit of UNITS) assert.ok(files.includes(`/usr/lib/systemd/system/${unit}.service`));
      assert.ok(files.includes('/usr/share/man/man1/quayctl.1.gz'));
      assert.equal(await ask('--configfiles'), '/etc/quayctl/config.yaml\n/etc/quayctl/serve.env\n');
      assert.match(await ask('--requires'), /^glibc >= 2\.28$/m);
    }
  });

  test('installs, upgrades and goes, its users with it', async () => {
    // Debian has rpm, and nothing that an RPM package could depend on.
    const debian = await machine(scope);
    const rpm = (...args: string[]): Promise<string> =>
      mustRun('rpm', ['--root', debian.root, '--nodeps', ...args]);
    const [, older = ''] = await olderPackages(scope);
    await rpm('--install', older);
    assert.equal(await debian.mustInside('quayctl', 'version'), 'quayctl 0.0.9\n');
    await appendFile(join(debian.root, 'etc/quayctl/config.yaml'), 'seed-after: 5m\n');
    await rpm('--upgrade', artefact('quayctl_VERSION_amd64.rpm'));
    assert.equal(await debian.mustInside('quayctl', 'version'), `quayctl ${releasedVersion()}\n`);
    assert.match(await debian.mustInside('quayctl', 'config'), /seed-after.*5m/);
    await debian.mustInside('id', 'quayctl');
    await rpm('--erase', 'quayctl');
    assert.notEqual((await debian.inside('quayctl', 'version')).code, 0);
    assert.notEqual((await debian.inside('id', 'quayctl')).code, 0);
  });
});

test(
  'scripts that packages and users run are POSIX sh, and shellcheck has nothing to say',
  { skip: skipWithout('shellcheck') },
  async () => {
    const folder = join(import.meta.dirname, '../../scripts/packaging');
    const hooks = ['preinstall', 'postinstall', 'preremove', 'postremove'].map((name) =>
      join(folder, `linux/${name}.sh`),
    );
    await mustRun('shellcheck', ['--shell=sh', join(folder, 'install.sh'), ...hooks]);
  },
);
