import { DOCKER_HUB, isDockerHub } from '../image/docker-hub.ts';

/** How Docker names Docker Hub towards credential helpers and in its config (`registry.IndexServer`). */
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';

/** docker/cli `ConvertToHostname`: scheme and path are no part of a registry's name. */
const KEY = /^(https?:\/\/)?([^/?#@\s]+)(\/[^?#@\s]*)?$/i;
/** What old clients wrote behind a host; it says nothing about repositories. */
const VERSION_PATH = /^\/?$|^\/v[12]\/?$/;

/** What a key of a credential file means. */
export interface RegistryKey {
  /** As in image references: `docker.io`, `host:5000`. */
  readonly registry: string;
  /** `team`, `team/app`: what the key is limited to below the registry; empty for all of it. */
  readonly namespace: string;
  readonly hasScheme: boolean;
}

/**
 * Reads a key of a credential file. Ports stay as they are: `host` is not `host:443`.
 * @returns undefined for what names no registry
 */
export function parseRegistryKey(key: string): RegistryKey | undefined {
  const [, scheme, name = '', path = ''] = KEY.exec(key) ?? [];
  const host = name.toLowerCase();
  if (host === '' || !URL.canParse(`http://${host}/`)) return undefined;
  const namespace = VERSION_PATH.test(path) ? '' : path.replaceAll(/^\/+|\/+$/g, '');
  return { registry: isDockerHub(host) ? DOCKER_HUB : host, namespace, hasScheme: scheme !== undefined };
}

/**
 * The registry that a user's REGISTRY argument, or a key that is not limited to a namespace, means:
 * `https://index.docker.io/v1/` is `docker.io`, `https://host:5000/v1/` is `host:5000`.
 * @returns undefined for what names no registry
 */
export function canonicalRegistry(key: string): string | undefined {
  const parsed = parseRegistryKey(key);
  return parsed === undefined || (parsed.namespace !== '' && !parsed.hasScheme) ? undefined : parsed.registry;
}

/** What a credential helper is asked for. */
export function helperServer(registry: string): string {
  return registry === DOCKER_HUB ? DOCKER_HUB_SERVER : registry;
}
