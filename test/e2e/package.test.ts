import assert from 'node:assert/strict';
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { makeNpmPackage } from '../../scripts/packaging/npm-package.ts';
import { releaseVersion } from '../../scripts/packaging/release-version.ts';
import { TestLayout, randomLayer } from '../helpers/images.ts';
import { mustRun, run } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
/** Of the processor: `--help` is to be instant; a heavy library alone would cost this much. */
const HELP_MS = 400;

describe('the published package', () => {
  const scope = suiteScope();
  let prefix: string;
  let program: string;

  before(async () => {
    const folder = await tempDirectory(scope, 'pack');
    prefix = join(folder, 'prefix');
    await mustRun(join(CHECKOUT, 'scripts/build'), []);
    const { version } = await releaseVersion(CHECKOUT);
    const tarball = await makeNpmPackage(version, join(folder, 'work'), folder);
    // everything must be inside, so nothing may be fetched
    const flags = ['--global', '--prefix', prefix, '--offline'];
    await mustRun('npm', ['install', ...flags, '--loglevel', 'error', tarball], {
      cwd: folder,
    });
    program = join(prefix, 'bin/quayctl');
  });

  test('has no dependencies but keytar as an optional peer, and no sources', async () => {
    const installed = join(prefix, 'lib/node_modules/quayctl');
    const manifest = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as {
      peerDependencies: object;
      peerDependenciesMeta: object;
    };
    for (const kind of ['dependencies', 'optionalDependencies', 'scripts'])
      assert.ok(!(kind in manifest), kind);
    assert.deepEqual(Object.keys(manifest.peerDependencies), ['keytar']);
    assert.deepEqual(manifest.peerDependenciesMeta, { keytar: { optional: true } });
    assert.deepEqual(await readdir(join(prefix, 'lib/node_modules')), ['quayctl']);
    await assert.rejects(access(join(installed, 'src')));
  });

  test('lists what its bundle holds, each with its license text, and nothing with a known hole', async () => {
    const dist = join(prefix, 'lib/node_modules/quayctl/dist');
    const list = JSON.parse(await readFile(join(dist, 'sbom.cdx.json'), 'utf8')) as {
      components: { name: string; version: string; purl: string }[];
    };
    const names = list.components.map(({ name }) => name);
    assert.ok(names.includes('bittorrent-protocol') && names.includes('openpgp'), names.join());
    assert.ok(!names.includes('ip'), 'CVE-2024-29415');
    const notices = (await readFile(join(dist, 'LICENSES.txt'), 'utf8')).split(`\n${'-'.repeat(80)}\n`);
    assert.equal(notices.length, list.components.length);
    for (const notice of notices) {
      assert.match(notice, /copyright/i, notice.slice(0, 200));
      assert.ok(notice.length > 500, notice.slice(0, 200));
    }
    const openpgp = notices.find((notice) => notice.trimStart().startsWith('openpgp '));
    assert.match(openpgp ?? '', /LESSER GENERAL PUBLIC LICENSE[\s\S]*GNU GENERAL PUBLIC LICENSE\s+Version 3/);
  });

  test('tells its version and helps, from anywhere and at once', async (t) => {
    const node = await quayctlNode(t, { program });
    const { version } = await releaseVersion(CHECKOUT);
    const told = await node.run(['version']);
    assert.deepEqual([told.code, told.stdout], [0, `quayctl ${version}\n`]);
    const times: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const shell = ['-c', '"$@" --help; times', 'sh', process.execPath, program];
      const help = await mustRun('sh', shell, { env: node.env });
      assert.match(help, /torrent/);
      times.push(childrenMs(help));
    }
    const best = Math.min(...times);
    assert.ok(best < HELP_MS, `--help takes ${best} ms of the processor`);
  });

  test(
    'shares a store with a group, whom another program finds',
    { skip: skipWithout('root') },
    async (t) => {
      const node = await quayctlNode(t, { program });
      const store = join(await tempDirectory(t), 'store');
      const shared = await node.run(['store', 'share', '--group', 'root', '--store', store]);
      assert.equal(shared.code, 0, shared.stderr);
    },
  );

  test('pulls an image from its own service, as layers and as an ACI', async (t) => {
    const layout = await TestLayout.create(await tempDirectory(t));
    await layout.addImage({ layers: [randomLayer(2_000_000, 'a'), randomLayer(1000, 'b')] }, 'team/app:1.0');
    const server = await quayctlNode(t, { program });
    const service = server.start([
      'serve',
      '--upstream',
      `oci:${layout.directory}`,
      '--listen',
      '127.0.0.1:0',
      '--alias',
      'quay.example',
    ]);
    const [, host] = await service.waitFor(/^http:\/\/(\S+)$/m);
    const node = await quayctlNode(t, { program });
    const pulled = await node.run(['torrent', 'pull', `${host}/team/app:1.0`, '--json']);
    assert.equal(pulled.code, 0, pulled.stderr);
    const receipt = JSON.parse(pulled.stdout) as { total: { size: number; fromRegistry: number } };
    assert.equal(receipt.total.fromRegistry, receipt.total.size);
    // An ACI and its signature: the libraries that only rkt's users need are inside, too.
    const image = ['quay.example/team/app:1.0', '--torrent-service', `http://${host}`];
    const seeded = await node.run(['rkt', 'torrent', 'seed', ...image, '--duration', '1s', '--json']);
    assert.equal(seeded.code, 0, seeded.stderr);
    const stopped = await service.kill('SIGTERM');
    assert.equal(stopped.signal, null);
  });
});

test('an older Node is told so in one line', async (t) => {
  const folder = await tempDirectory(t);
  await mustRun('cp', ['-r', join(CHECKOUT, 'bin'), folder]);
  // what an old Node sees of itself; its parser is tried by the syntax test below
  const pretend = `Object.defineProperty(process.versions, 'node', { value: '18.20.4' });`;
  const old = await run(process.execPath, [
    '--import',
    `data:text/javascript,${encodeURIComponent(pretend)}`,
    join(folder, 'bin/quayctl'),
    'version',
  ]);
  assert.equal(old.code, 1);
  assert.equal(old.stderr, 'quayctl needs Node 22.19 or newer; this is Node 18.20.4\n');
});

test('the first two files hold nothing that an old parser would refuse', async () => {
  for (const file of ['quayctl', 'too-old.js']) {
    const code = await readFile(join(CHECKOUT, 'bin', file), 'utf8');
    const bare = code.replace(/'[^'\n]*'|\/\/.*/g, '');
    assert.doesNotMatch(
      bare,
      /=>|`|\b(?:const|let|class|async|await|import|export)\b|\?\.|\?\?|\.\.\./,
      file,
    );
  }
});

/** Processor time of a shell's children, in the last line of what its `times` prints: `0m0.10s 0m0.02s`. */
function childrenMs(text: string): number {
  const parts = [...(text.trim().split('\n').at(-1) ?? '').matchAll(/(\d+)m([\d.]+)s/g)];
  assert.equal(parts.length, 2, text);
  return parts.reduce(
    (sum, [, minutes, seconds]) => sum + (Number(minutes) * 60 + Number(seconds)) * 1000,
    0,
  );
}
