import { DOCKER_HUB, isDockerHub } from '../image/docker-hub.ts';

/** How Docker names Docker Hub towards credential helpers and in its config (`registry.IndexServer`). */
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';

/** docker/cli `ConvertToHostname`: scheme and path are no part of a registry's name. */
const KEY = /^(https?:\/\/)?([^/?#@\s]+)(\/[^?#@\s]*)?$/i;
/** What old clients wrote behind a host. Any other path without a scheme is a namespace, not a registry. */
const VERSION_PATH = /^\/?$|^\/v[12]\/?$/;

/**
 * The registry that a key of a credential file, or a user's REGISTRY argument, means: `https://index.docker.io/v1/`
 * is `docker.io`, `https://host:5000/v1/` is `host:5000`. Ports stay as they are: `host` is not `host:443`.
 * @returns undefined for what names no registry
 */
export function canonicalRegistry(key: string): string | undefined {
  const [, scheme, name = '', path = ''] = KEY.exec(key) ?? [];
  const host = name.toLowerCase();
  if (host === '' || !URL.canParse(`http://${host}/`)) return undefined;
  if (scheme === undefined && !VERSION_PATH.test(path)) return undefined;
  return isDockerHub(host) ? DOCKER_HUB : host;
}

/** What a credential helper is asked for. */
export function helperServer(registry: string): string {
  return registry === DOCKER_HUB ? DOCKER_HUB_SERVER : registry;
}
