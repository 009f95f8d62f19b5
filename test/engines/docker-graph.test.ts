import { openEngine } from '../../src/engines/engines.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { skipWithout } from '../helpers/programs.ts';
import { engineSuite } from './engine.suite.ts';

engineSuite('dockerd', skipWithout('root', 'dockerd', 'docker'), async (scope) => {
  const dockerd = await startDockerd(scope);
  return {
    open: () => openEngine('docker', { env: { DOCKER_HOST: dockerd.dockerHost } }),
    command: (...args) => dockerd.docker(...args),
    recordsDigest: false,
    checksDiffIds: true,
    runFlags: [],
  };
});
