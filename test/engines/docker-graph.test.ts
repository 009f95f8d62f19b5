import { docker } from '../../src/engines/docker/docker.ts';
import { startDockerd } from '../helpers/dockerd.ts';
import { skipWithout } from '../helpers/programs.ts';
import { engineSuite } from './engine.suite.ts';

engineSuite('dockerd', skipWithout('root', 'dockerd', 'docker'), async (scope) => {
  const dockerd = await startDockerd(scope);
  return {
    open: () => docker.open({ env: { DOCKER_HOST: dockerd.dockerHost }, options: {} }),
    command: (...args) => dockerd.docker(...args),
    recordsDigest: false,
    checksDiffIds: true,
    runFlags: [],
  };
});
