import { openEngine } from '../../src/engines/engines.ts';
import { startPodman } from '../helpers/podman.ts';
import { skipWithout } from '../helpers/programs.ts';
import { engineSuite } from './engine.suite.ts';

engineSuite("podman's Docker API", skipWithout('root', 'podman', 'runc'), async (scope) => {
  const podman = await startPodman(scope);
  return {
    open: () => openEngine('docker', { env: { DOCKER_HOST: podman.dockerHost } }),
    command: (...args) => podman.podman(...args),
    recordsDigest: true,
    checksDiffIds: false,
    // Its defaults are limits that a confined root may not set, and crun wants other cgroups than many machines have.
    runFlags: ['--runtime=runc', '--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024'],
  };
});
