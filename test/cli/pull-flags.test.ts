import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test, type TestContext } from 'node:test';
import { runHook } from '../../src/cli/hook.ts';
import type { Digest } from '../../src/image/digest.ts';
import { startHttpFaultProxy, type HttpFaultProxy } from '../helpers/fault-proxy.ts';
import { randomLayer, TestLayout } from '../helpers/images.ts';
import { skipWithout } from '../helpers/programs.ts';
import { pushImage } from '../helpers/push.ts';
import { quayctlNode } from '../helpers/quayctl.ts';
import { startRegistry } from '../helpers/registry.ts';
import { assertFails, receiptOf } from '../helpers/stage.ts';
import { suiteScope } from '../helpers/suite-scope.ts';
import { tempDirectory } from '../helpers/temp.ts';

const RECEIPT = {
  image: 'registry.example/team/app:1.0',
  digest: `sha256:${'a'.repeat(64)}` as Digest,
  engine: 'docker',
  layers: [],
  p2p: { state: 'used', reason: 'peers gave bytes' },
  total: {
    ...{ size: 10, fromPeers: 6, fromRegistry: 3, fromStore: 1, alreadyInEngine: 0 },
    ...{ wasted: 0, peers: 1, uploaded: 0, seconds: 1.5 },
  },
} as const;

async function script(t: TestContext, body: string): Promise<string> {
  const path = join(await tempDirectory(t, 'hook'), 'hook');
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}

test('a hook that fails, hangs or is not there is told, and ends within its time', async (t) => {
  const run = (path: string, limitMs = 20_000): Promise<string | undefined> =>
    runHook(path, RECEIPT, { env: { PATH: process.env['PATH'] }, signal: t.signal }, limitMs);
  assert.equal(await run(await script(t, 'exit 0')), undefined);
  assert.match(
    (await run(await script(t, 'exit 3'))) ?? '',
    /^the hook \S+ ended with 3; the image is there$/,
  );
  assert.match((await run(await script(t, 'kill -9 $$'))) ?? '', /was ended by SIGKILL/);
  assert.match((await run('/nonexistent/hook')) ?? '', /cannot be started \(ENOENT\)/);
  assert.match((await run(await script(t, 'exec sleep 1000'), 200)) ?? '', /was ended after 200ms/);
  const stubborn = await script(t, 'trap "" TERM; while :; do sleep 1; done');
  assert.match((await run(stubborn, 200)) ?? '', /was ended after 200ms/);
});

describe('--hook, --timeout and --retries', { skip: skipWithout('docker-registry') }, () => {
  const scope = suiteScope();
  let pipe: HttpFaultProxy;
  let image = '';
  before(async () => {
    const registry = await startRegistry(scope);
    pipe = await startHttpFaultProxy(scope, registry.url);
    const layout = await TestLayout.create(await tempDirectory(scope, 'layout'));
    const { manifest } = await layout.addImage({ layers: [randomLayer(300_000, 'a')] });
    await pushImage(layout, manifest, { url: registry.url, repository: 'team/app', tag: '1.0' });
    image = `${pipe.host}/team/app:1.0`;
  });

  test('the hook is told of the image by its environment, and of no secret; what it prints is no data', async (t) => {
    const node = await quayctlNode(t);
    const hook = await script(t, `env > ${node.home}/seen; echo hello; exit 7`);
    const env = { QUAYCTL_HOOK: hook };
    const pulled = await node.run(['torrent', 'pull', image, '--json'], { env });
    const receipt = receiptOf(pulled);
    const seen = await readFile(join(node.home, 'seen'), 'utf8');
    assert.deepEqual(seen.match(/^QUAYCTL_HOOK.*$/gm)?.toSorted(), [
      'QUAYCTL_HOOK_ALREADY_IN_ENGINE=0',
      `QUAYCTL_HOOK_DIGEST=${receipt.digest}`,
      'QUAYCTL_HOOK_ENGINE=none',
      'QUAYCTL_HOOK_FROM_PEERS=0',
      `QUAYCTL_HOOK_FROM_REGISTRY=${receipt.total.fromRegistry}`,
      'QUAYCTL_HOOK_FROM_STORE=0',
      `QUAYCTL_HOOK_IMAGE=${image}`,
      `QUAYCTL_HOOK_P2P=${receipt.p2p.state}`,
      `QUAYCTL_HOOK_SECONDS=${receipt.total.seconds}`,
      `QUAYCTL_HOOK_SIZE=${receipt.total.size}`,
    ]);
    assert.match(pulled.stderr, /^hello$/m);
    assert.match(pulled.stderr, /^warning: the hook \S+ ended with 7; the image is there$/m);
  });

  test('--timeout ends a pull that takes longer, and what came is kept', async (t) => {
    const node = await quayctlNode(t);
    pipe.link.bytesPerSecond = 50_000;
    const late = await node.run(['torrent', 'pull', image, '--timeout', '2500ms', '--json']);
    pipe.link.bytesPerSecond = Infinity;
    assertFails(late, 1, 'timeout');
    assert.match(late.stderr, /^quayctl: \S+ was not there after 2\.5s$/m);
    const again = receiptOf(await node.run(['torrent', 'pull', image, '--timeout', '1h', '--json']));
    assert.ok(again.total.fromRegistry > 0);
    const none = await node.run(['torrent', 'pull', image, '--timeout', '0']);
    assert.equal(none.code, 2);
  });

  test('--retries says how often a registry that fails for a moment is asked again', async (t) => {
    const failing = async (
      times: number,
      retries: string,
    ): Promise<{ code: number | null; asked: number }> => {
      const node = await quayctlNode(t);
      pipe.faults.push({ match: /\/manifests\//, status: 503, times });
      const before_ = pipe.requests.length;
      const { code } = await node.run(['torrent', 'pull', image, '--retries', retries]);
      pipe.faults.length = 0;
      const asked = pipe.requests.slice(before_).filter((line) => line.endsWith(' 503')).length;
      return { code, asked };
    };
    assert.deepEqual(await failing(1, '0'), { code: 1, asked: 1 });
    assert.deepEqual(await failing(2, '2'), { code: 0, asked: 2 });
    assert.deepEqual(await failing(9, '1'), { code: 1, asked: 2 });
    const node = await quayctlNode(t);
    assert.equal((await node.run(['torrent', 'pull', image, '--retries', 'often'])).code, 2);
  });
});
