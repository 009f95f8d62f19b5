import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { randomLayer } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode, type QuayctlNode } from '../helpers/quayctl.ts';
import { openStage, type Stage } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';

const PROGRAM = join(import.meta.dirname, '../../bin/quayctl');

describe('stdout that takes nothing', { skip: skipWithout('docker-registry') }, () => {
  const scope = suiteScope();
  let stage: Stage;
  let node: QuayctlNode;
  before(async () => {
    stage = await openStage(scope);
    const { manifest } = await stage.layout.addImage({ layers: [randomLayer(20_000, 'a')] });
    await stage.push(manifest, 'a:1');
    // What stands before quayctl's own arguments becomes its shell's: $0 is Node, $@ the rest.
    const launcher = ['/bin/sh', '-c', 'exec "$0" "$@" >/dev/full'];
    const env = { DOCKER_HOST: 'unix:///nonexistent/x', CONTAINER_HOST: 'unix:///nonexistent/x' };
    node = await quayctlNode(scope, { launcher, program: PROGRAM, env });
  });

  const image = (): string => stage.name('a:1');
  const commands: Readonly<Record<string, () => readonly string[]>> = {
    help: () => ['--help'],
    version: () => ['version'],
    completion: () => ['completion', 'bash'],
    config: () => ['config', '--json'],
    'store ls': () => ['store', 'ls', '--json'],
    'torrent pull': () => ['torrent', 'pull', image()],
    'torrent pull, several': () => ['torrent', 'pull', image(), image(), '--json'],
    'torrent seed': () => ['torrent', 'seed', image()],
    doctor: () => ['doctor'],
    serve: () => [
      'serve',
      '--upstream',
      stage.registry.url,
      '--listen',
      '127.0.0.1:0',
      '--admin-listen',
      'none',
    ],
    mirror: () => ['mirror', '--registry', `a.example=${stage.service.url}`, '--listen', '127.0.0.1:0'],
  };
  for (const [name, args] of Object.entries(commands))
    test(`${name} ends with one error and 1`, async () => {
      const { code, stderr } = await node.run(args());
      assert.equal(code, 1, stderr);
      assert.deepEqual(stderr.match(/^(?:quayctl|hint|  caused by): .*$/gm), [
        'quayctl: cannot write to stdout: no space is left',
      ]);
      assert.doesNotMatch(stderr, /^\s+at /m);
    });

  test('a command that fails otherwise says that, and nothing else', async () => {
    const { code, stderr } = await node.run(['torrent', 'pull', stage.name('none:1')]);
    assert.equal(code, 4, stderr);
    assert.doesNotMatch(stderr, /cannot write/);
  });

  test('stderr that takes nothing stops nobody', async (t) => {
    const launcher = ['/bin/sh', '-c', 'exec "$0" "$@" 2>/dev/full'];
    const mute = await quayctlNode(t, { launcher });
    const { code, stdout } = await mute.run(['torrent', 'pull', image()]);
    assert.deepEqual([code, stdout], [0, `${image()}\n`]);
  });
});
