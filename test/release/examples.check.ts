import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { debianRootTar } from '../helpers/debian.ts';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import { mustRun, run, startProcess, type Output, type RunningProcess } from '../helpers/processes.ts';
import { engineProgram, programPath, skipWithout } from '../helpers/programs.ts';
import { tempDirectory } from '../helpers/temp.ts';
import { artefact, releasedVersion } from './artefacts.ts';

const EXAMPLES = join(import.meta.dirname, '../../scripts/deploy/examples');
const WAIT_MS = 120_000;

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly volumes?: readonly string[];
}

/** What a shell of Compose would put in place of `${NAME}`, `${NAME:-default}` and `${NAME:?why}`. */
function filledIn(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(
    /\$\{([A-Z_]+)(?::([-?])([^}]*))?\}/g,
    (_: string, name: string, kind: string | undefined, word: string | undefined = ''): string => {
      const value: string | undefined = values[name] ?? (kind === '-' ? word : undefined);
      if (value === undefined) throw new Error(`${name}: ${word}`);
      return value;
    },
  );
}

test(
  'compose.yaml: a registry, the service, and a second node that takes every byte from the first',
  { skip: skipWithout('root', 'podman', 'skopeo', 'ip', 'docker-registry', 'unshare') },
  async (t) => {
    const directory = await tempDirectory(t, 'compose');
    const storage = ['root', 'run', 'tmp'].map((name) => join(directory, name));
    const [root, runroot, tmp] = storage;
    // A network of its own, in which the example's ports are free; the containers share it.
    const network = `qrel${process.pid}`;
    await mustRun(programPath('ip'), ['netns', 'add', network]);
    await mustRun(programPath('ip'), ['-n', network, 'link', 'set', 'lo', 'up']);
    const inside = (...command: readonly string[]): [string, string[]] => [
      // As `ip netns exec` does, but for /sys, where the engine finds its control groups.
      programPath('nsenter'),
      [`--net=/run/netns/${network}`, ...command],
    ];
    const engine = (...args: readonly string[]): readonly string[] => [
      programPath('podman'),
      `--root=${root}`,
      `--runroot=${runroot}`,
      `--tmpdir=${tmp}`,
      '--storage-driver=overlay',
      '--events-backend=file',
      ...args,
    ];
    const podman = (...args: readonly string[]): Promise<string> => mustRun(...inside(...engine(...args)));
    t.after(async () => {
      await run(...inside(...engine('rm', '--all', '--force', '--time=0')));
      await run(programPath('ip'), ['netns', 'delete', network]);
    });

    await podman('load', '--input', artefact('quayctl-VERSION-oci.tar'));
    const registry = await registryImage(join(directory, 'registry'));
    await podman('load', '--input', registry);
    const values = { QUAYCTL_VERSION: releasedVersion(), REGISTRY_IMAGE: 'localhost/registry:2' };
    const text = filledIn(await readFile(join(EXAMPLES, 'compose.yaml'), 'utf8'), values);
    const { services } = parse(text, { merge: true }) as { services: Record<string, Service> };
    const names = Object.keys(services);
    assert.deepEqual(names, ['registry', 'serve', 'node-1', 'node-2']);
    const start = (name: string): RunningProcess => {
      const { image, command = [], volumes = [] } = services[name] ?? { image: '' };
      // podman's own limits are higher than what a container around the tests may set.
      const flags = [
        'run',
        '--name',
        name,
        '--network',
        'host',
        '--ulimit=nofile=1024:1024',
        '--ulimit=nproc=1024:1024',
      ];
      for (const other of names) flags.push('--add-host', `${other}:127.0.0.1`);
      for (const volume of volumes) flags.push('--volume', volume);
      const container = startProcess(...inside(...engine(...flags, image, ...command)));
      t.after(async () => void (await container.kill('SIGKILL')));
      return container;
    };

    const first = start('registry');
    await first.waitFor(/listening on/, WAIT_MS);
    const layout = await TestLayout.create(join(directory, 'layout'));
    await layout.addImage({ layers: [randomLayer(3_000_000, 'compose')] }, 'app');
    const target = 'docker://localhost:5000/team/app:1.0';
    await mustRun(
      ...inside(
        programPath('skopeo'),
        'copy',
        '--dest-tls-verify=false',
        `oci:${layout.directory}:app`,
        target,
      ),
    );
    const serve = start('serve');
    await serve.waitFor(/^http:\/\/\S+$/m, WAIT_MS);
    const receipt = async (node: RunningProcess): Promise<Record<string, number>> => {
      const [json] = await node.waitFor(/^\{.*\}$/m, WAIT_MS);
      return (JSON.parse(json) as { total: Record<string, number> }).total;
    };
    const one = await receipt(start('node-1'));
    assert.equal(one['fromRegistry'], one['size']);
    const two = await receipt(start('node-2'));
    assert.equal(two['fromPeers'], two['size']);
  },
);

/** The example's registry is an image of others; Debian's program in the place of theirs. @returns an OCI archive */
async function registryImage(folder: string): Promise<string> {
  const layout = await TestLayout.create(folder);
  const program = programPath('docker-registry');
  const linked = await mustRun('ldd', [program]);
  const libraries = linked.match(/\/\S+\.so\S*/g) ?? [];
  const entries = [];
  for (const [name, file] of [
    ['usr/bin/registry', program],
    ...libraries.map((path) => [path.slice(1), path]),
  ] as const) {
    const content = await readFile(file);
    entries.push({ name, mode: 0o755, content });
  }
  const config =
    'version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /var/lib/registry\nhttp:\n  addr: :5000\n';
  entries.push({ name: 'etc/registry.yml', content: config });
  const cmd = { Entrypoint: ['/usr/bin/registry'], Cmd: ['serve', '/etc/registry.yml'] };
  await layout.addImage({ layers: [{ entries }], run: cmd }, 'localhost/registry:2');
  const archive = `${folder}.tar`;
  await mustRun('tar', ['-C', folder, '-cf', archive, '.']);
  return archive;
}

test(
  'github-actions.yaml has no mistakes that actionlint and shellcheck find',
  { skip: skipWithout('go:actionlint', 'shellcheck') },
  async () => {
    await mustRun(engineProgram('actionlint'), ['-no-color', join(EXAMPLES, 'github-actions.yaml')]);
  },
);

test(
  'cloud-init.yaml, carried out in a Debian: settings that quayctl reads, the package, a shared store',
  { skip: skipWithout('root', 'debootstrap') },
  async (t) => {
    const root = await tempDirectory(t, 'cloud');
    await mustRun('tar', ['-C', root, '-xf', await debianRootTar()]);
    const text = await readFile(join(EXAMPLES, 'cloud-init.yaml'), 'utf8');
    assert.match(text, /^#cloud-config\n/);
    const { write_files: files, runcmd } = parse(text) as {
      write_files: { path: string; content: string }[];
      runcmd: string[][];
    };
    for (const { path, content } of files) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), content);
    }
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', DEBIAN_FRONTEND: 'noninteractive' };
    const inside = (...command: readonly string[]): Promise<Output> =>
      run('/usr/sbin/chroot', [root, ...command], { env });
    // In place of the download, and of what starts units, which a chroot has not.
    await mkdir(join(root, 'run'), { recursive: true });
    await copyFile(artefact('quayctl_VERSION_amd64.deb'), join(root, 'run/quayctl.deb'));
    const carriedOut: string[] = [];
    for (const [program = '', ...args] of runcmd) {
      if (program === 'sh' || program === 'systemctl') continue;
      const options = args.flatMap((word) => /^Dpkg::Options::=(.*)$/.exec(word)?.[1] ?? []);
      const install = ['dpkg', ...options, '--install', '/run/quayctl.deb'];
      const command = program === 'apt-get' ? install : [program, ...args];
      const { code, stderr } = await inside(...command);
      assert.equal(code, 0, `${command.join(' ')}\n${stderr}`);
      carriedOut.push(program);
    }
    assert.deepEqual(carriedOut, ['apt-get', 'quayctl']);
    const settings = await inside('quayctl', 'config');
    assert.match(settings.stdout, /torrent-service.*https:\/\/torrents\.example\.com:7070/);
    assert.match(settings.stdout, /upload-rate.*3000/);
    const store = await inside('stat', '--format', '%G', '/var/lib/quayctl/store');
    assert.equal(store.stdout, 'quayctl\n');
    const unit = files.find(({ path }) => path.endsWith('.service'));
    const [, line = ''] = /^ExecStart=\/usr\/bin\/quayctl (.*)$/m.exec(unit?.content ?? '') ?? [];
    const helped = await inside(
      'quayctl',
      ...line.split(' ').filter((word) => !word.includes('/')),
      '--help',
    );
    assert.equal(helped.code, 0, helped.stderr);
  },
);
