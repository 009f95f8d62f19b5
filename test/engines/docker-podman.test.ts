import { openEngine } from '../../src/engines/engines.ts';
import { startPodman } from '../helpers/podman.ts';
import { skipWithout } from '../helpers/programs.ts';
import { engineSuite } from './engine.suite.ts';

engineSuite("podman's Docker API", skipWithout('root', 'podman'), async (scope) => {
  const podman = await startPodman(scope);
  return {
    open: () => openEngine('docker', { env: { DOCKER_HOST: podman.dockerHost } }),
    command: podman.podman,
    recordsDigest: true,
    checksDiffIds: false,
    // podman sets limits that a confined root may not set
    runFlags: ['--ulimit=host'],
  };
});
