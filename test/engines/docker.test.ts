import { docker } from '../../src/engines/docker/docker.ts';
import { DOCKERD_KINDS, skipWithoutDockerd, startDockerd } from '../helpers/dockerd.ts';
import { dockerId } from './engine-images.ts';
import { engineSuite } from './engine.suite.ts';

for (const kind of DOCKERD_KINDS) {
  engineSuite(`dockerd, ${kind}`, skipWithoutDockerd(kind), async (scope) => {
    const dockerd = await startDockerd(scope, [], kind);
    return {
      open: () => docker.open({ env: { DOCKER_HOST: dockerd.dockerHost }, options: {} }),
      command: (...args) => dockerd.docker(...args),
      idOf: (image) => dockerId(image, kind),
      recordsDigest: kind === 'containerd',
      checksDiffIds: true,
      runFlags: [],
    };
  });
}
