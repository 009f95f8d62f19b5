import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { asPluginCall } from '../../src/cli/plugin-call.ts';
import { run } from '../helpers/processes.ts';
import { skipWithout } from '../helpers/programs.ts';
import { quayctlNode } from '../helpers/quayctl.ts';

const UNREACHABLE = '127.0.0.1:1/team/app:1';

describe("Docker's plug-in", { skip: skipWithout('docker') }, () => {
  test('docker torrent pull is ours once it is installed, with the flags of docker before it', async (t) => {
    const node = await quayctlNode(t);
    const config = node.env['DOCKER_CONFIG'] ?? '';
    const installed = await node.run(['plugin', 'install']);
    assert.equal(installed.code, 0, installed.stderr);
    const file = join(config, 'cli-plugins/docker-torrent');
    assert.equal((await stat(file)).mode & 0o777, 0o755);

    const docker = (...args: string[]): ReturnType<typeof run> => run('docker', args, { env: node.env });
    assert.match((await docker('--help')).stdout, /torrent\* +Pull images over BitTorrent/);
    assert.match((await docker('torrent', 'pull', '--help')).stdout, /^Usage: quayctl docker torrent pull /);
    const pulled = await docker('-H', 'tcp://127.0.0.1:2', 'torrent', 'pull', UNREACHABLE);
    assert.equal(pulled.code, 5);
    assert.match(pulled.stderr, /cannot connect to tcp:\/\/127\.0\.0\.1:2/);

    assert.equal((await node.run(['plugin', 'install'])).code, 0, 'again, over our own');
    assert.equal((await node.run(['plugin', 'uninstall'])).code, 0);
    await assert.rejects(stat(file), { code: 'ENOENT' });
    assert.equal((await node.run(['plugin', 'uninstall'])).code, 0, 'nothing is there');
  });

  test("another's program of this name stays", async (t) => {
    const node = await quayctlNode(t);
    const folder = join(node.env['DOCKER_CONFIG'] ?? '', 'cli-plugins');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'docker-torrent'), "another's");
    for (const verb of ['install', 'uninstall']) {
      const refused = await node.run(['plugin', verb]);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /not ours/);
    }
    assert.equal(await readFile(join(folder, 'docker-torrent'), 'utf8'), "another's");
  });
});

test("docker's own flags become the variables that say the same", () => {
  const call = (...words: string[]): unknown => asPluginCall(['docker-cli-plugin', ...words]);
  assert.deepEqual(call('torrent', 'pull', '-H', 'x'), {
    argv: ['docker', 'torrent', 'pull', '-H', 'x'],
    env: {},
  });
  assert.deepEqual(call('--context', 'far', '--host=tcp://h:1', '-D', '-l', 'debug', 'torrent', 'seed'), {
    argv: ['docker', 'torrent', 'seed'],
    env: { DOCKER_CONTEXT: 'far', DOCKER_HOST: 'tcp://h:1' },
  });
  assert.deepEqual(call('--config', '/c', '--tlsverify', 'torrent'), {
    argv: ['docker', 'torrent'],
    env: { DOCKER_CONFIG: '/c', DOCKER_TLS_VERIFY: '1' },
  });
  assert.throws(() => call('--tlscacert', '/ca.pem', 'torrent'), /does not know docker's flag --tlscacert/);
  assert.equal(asPluginCall(['docker', 'torrent', 'pull']), undefined);
});
