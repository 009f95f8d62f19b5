import { userInfo } from 'node:os';
import { join } from 'node:path';
import { QuayctlError } from '../../base/errors.ts';
import { ApiEngine, type Contact } from '../docker-api/api-engine.ts';
import type { DockerClient } from '../docker-api/client.ts';
import { askDaemon } from '../docker-api/daemon-facts.ts';
import { parseEndpoint, type ApiEndpoint } from '../docker-api/endpoint.ts';
import type { EngineWords } from '../docker-api/failures.ts';
import type { Engine, Environment } from '../engine.ts';
import { PodmanStore } from './podman-store.ts';

const WORDS: EngineWords = {
  title: 'podman',
  variable: 'CONTAINER_HOST',
  start: 'systemctl --user start podman.socket, as root sudo systemctl start podman.socket',
  log: 'journalctl --user -u podman',
  makeRoom: 'podman system df, podman image prune',
  access: "set CONTAINER_HOST to a socket of this user's own: systemctl --user start podman.socket",
};
const SYSTEM_SOCKET = '/run/podman/podman.sock';

/**
 * podman by its API service: CONTAINER_HOST, else this user's socket, or the system's for root.
 * @throws QuayctlError `engine` where CONTAINER_HOST cannot be used
 */
export async function openPodman(env: Environment): Promise<Engine> {
  return new ApiEngine('podman', WORDS, await podmanEndpoint(env), contactPodman);
}

/** The service that `podman --remote` would use (podman-remote(1), containers.conf(5)), named connections excepted. */
export async function podmanEndpoint(env: Environment): Promise<ApiEndpoint> {
  const { uid } = userInfo();
  const runtime = env['XDG_RUNTIME_DIR'] || `/run/user/${uid}`;
  const socket = uid === 0 ? SYSTEM_SOCKET : join(runtime, 'podman', 'podman.sock');
  const host = env['CONTAINER_HOST'];
  if (host === undefined || host === '') return { kind: 'socket', path: socket };
  return parseEndpoint(host, 'CONTAINER_HOST', undefined, socket);
}

async function contactPodman(client: DockerClient, signal: AbortSignal): Promise<Contact> {
  const { platform, isPodman, version } = await askDaemon(client, 'podman', signal);
  if (isPodman) return { platform, store: new PodmanStore(client), description: `podman ${version}` };
  throw new QuayctlError('engine', 'the service that answered is not podman', {
    hint: 'check CONTAINER_HOST; for Docker: quayctl docker torrent pull',
  });
}
