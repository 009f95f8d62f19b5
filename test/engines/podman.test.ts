import assert from 'node:assert/strict';
import { userInfo } from 'node:os';
import { test } from 'node:test';
import { isQuayctlError } from '../../src/base/errors.ts';
import { docker } from '../../src/engines/docker/docker.ts';
import type { Engine } from '../../src/engines/engine.ts';
import { podmanEndpoint } from '../../src/engines/podman/podman-engine.ts';
import { podman as entry } from '../../src/engines/podman/podman.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { startPodman } from '../helpers/podman.ts';
import { skipWithout } from '../helpers/programs.ts';
import { file, loadOptions, NEVER, newLayout, runnable, TestFeed } from './engine-images.ts';
import { engineSuite } from './engine.suite.ts';

const skip = skipWithout('root', 'podman', 'runc');
const skipDocker = skipWithout('root', 'dockerd');

engineSuite('podman', skip, async (scope) => {
  const podman = await startPodman(scope);
  return {
    open: () => entry.open({ env: { CONTAINER_HOST: podman.dockerHost }, options: {} }),
    command: (...args) => podman.podman(...args),
    idOf: ({ manifest }) => manifest.config.digest,
    recordsDigest: true,
    checksDiffIds: false,
    // Its defaults are limits that a confined root may not set, and crun wants other cgroups than many machines have.
    runFlags: ['--runtime=runc', '--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024'],
  };
});

test("podman's service in Docker's place is taken for what it is", { skip }, async (t) => {
  const podman = await startPodman(t);
  const layout = await newLayout(t);
  const built = await layout.addImage({ layers: [{ entries: [file('greeting', 'hello')] }] });
  const image = await runnable(layout, built, 'quay.example/team/in-place:1');
  const engine = await docker.open({ env: { DOCKER_HOST: podman.dockerHost }, options: {} });
  const loaded = await engine.load(image, new TestFeed(layout), loadOptions(image));
  assert.equal(loaded.id, built.config.digest);
  assert.equal(loaded.digestRecorded, true);
});

test(
  'podman that is restarted is waited for at first contact, and when it is asked what it has',
  { skip },
  async (t) => {
    const podman = await startPodman(t);
    const layout = await newLayout(t);
    const built = await layout.addImage({ layers: [{ entries: [file('greeting', 'hello')] }] });
    const image = await runnable(layout, built, 'quay.example/team/restarted:1');
    const open = (): Promise<Engine> =>
      entry.open({ env: { CONTAINER_HOST: podman.dockerHost }, options: {} });
    const known = await open();
    await known.platform(NEVER);
    await podman.stop();
    const asked = Promise.all([(await open()).platform(NEVER), known.presence(image, NEVER)]);
    asked.catch(() => undefined);
    await podman.restart();
    const [platform, presence] = await asked;
    assert.equal(platform.os, 'linux');
    assert.equal(presence.image, false);
  },
);

test('podman is found by CONTAINER_HOST, else by the socket of this user', async () => {
  const { uid } = userInfo();
  const own = uid === 0 ? '/run/podman/podman.sock' : '/run/me/podman/podman.sock';
  for (const [host, endpoint] of [
    [undefined, { kind: 'socket', path: own }],
    ['unix:///run/other.sock', { kind: 'socket', path: '/run/other.sock' }],
    ['tcp://build.example:8080', { kind: 'tcp', host: 'build.example', port: 8080 }],
  ] as const) {
    assert.deepEqual(await podmanEndpoint({ CONTAINER_HOST: host, XDG_RUNTIME_DIR: '/run/me' }), endpoint);
  }
  const ssh = podmanEndpoint({ CONTAINER_HOST: 'ssh://me@build.example/run/podman/podman.sock' });
  await assert.rejects(ssh, (error) => isQuayctlError(error, 'engine') && error.hint !== undefined);
});

test('a Docker in the place of podman is told, with the command for it', { skip: skipDocker }, async (t) => {
  const dockerd = await startDockerd(t);
  const engine = await entry.open({ env: { CONTAINER_HOST: dockerd.dockerHost }, options: {} });
  await assert.rejects(
    engine.platform(NEVER),
    (error) => isQuayctlError(error, 'engine') && /quayctl docker/.test(error.hint ?? ''),
  );
});
