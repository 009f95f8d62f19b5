import { QuayctlError } from '../../base/errors.ts';
import { ApiEngine, type Contact } from '../docker-api/api-engine.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { askDaemon, isAtLeast, type DaemonFacts } from '../docker-api/daemon-facts.ts';
import type { EngineWords } from '../docker-api/failures.ts';
import type { Engine, Environment } from '../engine.ts';
import { ContainerdStore } from './containerd-store.ts';
import { dockerEndpoint } from './docker-endpoint.ts';
import { GraphdriverStore } from './graphdriver-store.ts';

const WORDS: EngineWords = {
  title: 'Docker',
  variable: 'DOCKER_HOST',
  start: 'sudo systemctl start docker',
  log: 'sudo journalctl -u docker',
  makeRoom: 'docker system df, docker image prune',
  access: 'join the docker group (sudo usermod -aG docker "$USER", then log in again), or use sudo',
};

/**
 * Docker Engine: with its graph drivers from 20.10 on, with the containerd image store from 25.0 on (the default of
 * new installations since 29).
 * @throws QuayctlError `engine` where DOCKER_HOST or the context cannot be used
 */
export async function openDocker(env: Environment): Promise<Engine> {
  return new ApiEngine('docker', WORDS, await dockerEndpoint(env), contactDocker);
}

async function contactDocker(client: DockerClient, signal: AbortSignal): Promise<Contact> {
  const facts = await askDaemon(client, 'Docker', signal);
  const { platform } = facts;
  if (facts.isPodman) {
    // podman-docker and DOCKER_HOST put podman in Docker's place.
    const { PodmanStore } = await import('../podman/podman-store.ts');
    return {
      platform,
      store: new PodmanStore(client),
      description: `podman ${facts.version}, at Docker's place`,
    };
  }
  refuseTooOld(facts);
  const store = facts.usesContainerd
    ? new ContainerdStore(client, facts)
    : new GraphdriverStore(client, facts);
  const kind = facts.usesContainerd ? "containerd's image store" : `the graph driver ${facts.driver}`;
  return { platform, store, description: `Docker ${facts.version}, ${kind}` };
}

/** @throws QuayctlError `engine` */
function refuseTooOld({ apiVersion, usesContainerd, version }: DaemonFacts): void {
  // API 1.44 is Engine 25.0, API 1.41 is Engine 20.10.
  if (usesContainerd && !isAtLeast(apiVersion, 1, 44)) {
    throw new QuayctlError(
      'engine',
      `Docker ${version} is too old for the containerd image store, which works from Docker 25.0 on`,
      { hint: 'upgrade Docker, or switch the feature containerd-snapshotter off in daemon.json' },
    );
  }
  if (isAtLeast(apiVersion, 1, 41)) return;
  throw new QuayctlError('engine', `Docker ${version} is too old: quayctl needs Docker 20.10 or newer`, {
    hint: 'upgrade Docker; `quayctl torrent pull --output FILE.tar` needs none',
  });
}
