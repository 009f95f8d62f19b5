import assert from 'node:assert/strict';
import { mkdir, readFile, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { randomLayer } from '../helpers/images.ts';
import { mustRun } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { openStage, type ReceiptJson, type Stage } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

async function configured(node: QuayctlNode, yaml: string): Promise<string> {
  const directory = join(node.home, 'config/quayctl');
  await mkdir(directory, { recursive: true });
  const file = join(directory, 'config.yaml');
  await writeFile(file, yaml);
  return file;
}

describe('the short way', { skip: skipWithout('docker-registry') }, () => {
  const scope = suiteScope();
  let stage: Stage;
  before(async () => {
    stage = await openStage(scope);
    for (const name of ['a', 'b']) {
      const { manifest } = await stage.layout.addImage({ layers: [randomLayer(20_000, name)] });
      await stage.push(manifest, `${name}:1`);
    }
  });

  test('several images: one that fails does not stop the others, and its exit code is that of the run', async (t) => {
    const node = await quayctlNode(t);
    const names = ['a:1', 'missing:1', 'b:1'].map((name) => stage.name(name));
    const pulled = await node.run(['torrent', 'pull', ...names]);
    assert.equal(pulled.code, 4, pulled.stderr);
    assert.equal(pulled.stdout, `${names[0]}\n${names[2]}\n`);
    assert.match(pulled.stderr, /^quayctl: \S+\/missing:1: /m);
    const json = await node.run(['torrent', 'pull', ...names, '--json']);
    assert.equal(json.code, 4);
    const { images, exitCode } = JSON.parse(json.stdout) as {
      images: [ReceiptJson, { image: string; error: { code: string } }, ReceiptJson];
      exitCode: number;
    };
    assert.equal(exitCode, 4);
    assert.deepEqual(
      images.map(({ image }) => image),
      names,
    );
    assert.equal(images[1].error.code, 'not-found');
  });

  test('a list of images from a file and from stdin', async (t) => {
    const node = await quayctlNode(t);
    const list = `# what we run\n${stage.name('a:1')}\n\n  ${stage.name('b:1')}  # and this\n`;
    const file = join(node.home, 'list');
    await writeFile(file, list);
    const both = `${stage.name('a:1')}\n${stage.name('b:1')}\n`;
    assert.equal((await node.run(['torrent', 'pull', '--from', file])).stdout, both);
    assert.equal((await node.run(['torrent', 'pull', '--from', '-'], { input: list })).stdout, both);
    const none = await node.run(['torrent', 'pull', '--from', join(node.home, 'no-such-list')]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /--from: cannot read/);
  });

  test('quayctl pull without an engine says so and pulls into the store; quayctl seed seeds', async (t) => {
    const node = await quayctlNode(t);
    const env = { CONTAINER_HOST: 'unix:///no-podman.sock' };
    const pulled = await node.run(['pull', stage.name('a:1')], { env });
    assert.equal(pulled.code, 0, pulled.stderr);
    assert.match(pulled.stderr, /^No engine answers here: into the local store$/m);
    const seeded = await node.run([
      'seed',
      stage.name('a:1'),
      '--duration',
      '1s',
      '--torrent-service',
      stage.service.url,
    ]);
    assert.equal(seeded.code, 0, seeded.stderr);
    assert.match(seeded.stderr, /^Seeding is over: 0 B given to 0 nodes$/m);
  });

  test('a flag counts before the environment, the environment before the file', async (t) => {
    const node = await quayctlNode(t);
    const file = await configured(
      node,
      'torrent-service: http://127.0.0.1:1\njson: true\nserve:\n  listen: 127.0.0.1:0\n',
    );
    const args = ['torrent', 'pull', stage.name('a:1')];
    const state = (text: string): string => (JSON.parse(text) as ReceiptJson).p2p.state;
    assert.equal(state((await node.run(args)).stdout), 'unavailable');
    const env = { QUAYCTL_TORRENT_SERVICE: stage.service.url };
    const other = await quayctlNode(t);
    await configured(other, 'torrent-service: http://127.0.0.1:1\njson: true\n');
    assert.equal(state((await other.run(args, { env })).stdout), 'small');
    const shown = await node.run(['config', '--json'], { env: { ...env, QUAYCTL_UPLOAD_RATE: '100' } });
    const { settings } = JSON.parse(shown.stdout) as {
      settings: { setting: string; value: string; from: string }[];
    };
    const from = (name: string): string | undefined => settings.find(({ setting }) => setting === name)?.from;
    assert.equal(from('torrent-service'), 'environment QUAYCTL_TORRENT_SERVICE');
    assert.equal(from('upload-rate'), 'environment QUAYCTL_UPLOAD_RATE');
    assert.equal(from('json'), file);
    assert.equal(from('listen'), undefined);
  });

  test('QUAYCTL_... of a flag without a value: false is false, nonsense is an error', async (t) => {
    const node = await quayctlNode(t);
    const args = ['torrent', 'pull', stage.name('a:1')];
    const no = await node.run(args, { env: { QUAYCTL_JSON: 'false', QUAYCTL_QUIET: '0' } });
    assert.equal(no.stdout, `${stage.name('a:1')}\n`);
    assert.match(no.stderr, /Successfully pulled/);
    const nonsense = await node.run(args, { env: { QUAYCTL_JSON: 'perhaps' } });
    assert.equal(nonsense.code, 2);
    assert.match(nonsense.stderr, /QUAYCTL_JSON is true or false/);
  });
});

const BROKEN: readonly (readonly [yaml: string, message: RegExp])[] = [
  ['torrent-servce: x\n', /config\.yaml: torrent-servce: there is no flag of this name/],
  ['a: [b\n', /config\.yaml is no YAML/],
  ['- a\n', /a map of settings is wanted/],
  ['serve: 1\n', /serve: the settings of a command are a map/],
  ['tracker: {a: b}\n', /tracker: a text, a number/],
  [`a: &a [x]\nb: *a\n`, /no YAML|no flag/],
];
for (const [yaml, message] of BROKEN)
  test(`a configuration file that is wrong is named with its key: ${JSON.stringify(yaml)}`, async (t) => {
    const node = await quayctlNode(t);
    await configured(node, yaml);
    const run = await node.run(['store', 'ls']);
    assert.equal(run.code, 2, run.stderr);
    assert.match(run.stderr, message);
  });

test('what people type first gets the command that they mean', async (t) => {
  const node = await quayctlNode(t);
  for (const [words, hint] of [
    ['images', 'quayctl store ls'],
    ['docker pull alpine', 'quayctl docker torrent pull alpine, or in short: quayctl pull alpine'],
    ['prune', 'quayctl store gc'],
  ] as const) {
    const run = await node.run(words.split(' '));
    assert.equal(run.code, 2);
    assert.ok(run.stderr.includes(hint), run.stderr);
  }
  const help = await node.run(['help', 'docker', 'torrent', 'pull']);
  assert.match(help.stdout, /^Usage: quayctl docker torrent pull /);
  const inherited = await node.run(['serve', 'prepare', '--help']);
  assert.match(inherited.stdout, /--upstream-auth/);
});

test(
  'completion of bash completes commands and flags at each place',
  { skip: skipWithout('bash') },
  async (t) => {
    const node = await quayctlNode(t);
    const { stdout: script } = await node.run(['completion', 'bash']);
    const complete = (words: readonly string[]): Promise<string> =>
      mustRun('bash', [
        '-c',
        `${script}\nCOMP_WORDS=(quayctl ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _quayctl; echo "\${COMPREPLY[*]}"`,
      ]);
    assert.equal((await complete(['dock'])).trim(), 'docker');
    assert.equal((await complete(['docker', 'torrent', ''])).trim(), 'pull seed --help');
    assert.equal((await complete(['docker', 'torrent', 'pull', '--torrent-s'])).trim(), '--torrent-service');
    assert.equal((await complete(['store', 'g'])).trim(), 'gc');
    for (const shell of ['zsh', 'fish'])
      assert.match((await node.run(['completion', shell])).stdout, /quayctl/, shell);
  },
);

test('store gc takes a share of the file system', async (t) => {
  const node = await quayctlNode(t);
  const gc = await node.run(['store', 'gc', '--max-size', '20%']);
  assert.equal(gc.code, 0, gc.stderr);
  const limit = Number(await readFile(join(node.store, 'quayctl/limit'), 'utf8'));
  const { blocks, bsize } = await statfs(node.store);
  assert.equal(limit, Math.floor(blocks * bsize * 0.2));
  assert.equal((await node.run(['store', 'gc', '--max-size', '120%'])).code, 2);
});
