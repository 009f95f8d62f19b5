/** Docker Hub as image references name it. */
export const DOCKER_HUB = 'docker.io';

/** The host that answers the distribution API for Docker Hub; what answers at docker.io is a web site. */
export const DOCKER_HUB_REGISTRY = 'registry-1.docker.io';

/** All names that tools have written for Docker Hub over the years; the first is the one of image references. */
export const DOCKER_HUB_NAMES: readonly string[] = [DOCKER_HUB, 'index.docker.io', DOCKER_HUB_REGISTRY];

/** Whether a registry's host is Docker Hub. */
export function isDockerHub(host: string): boolean {
  return DOCKER_HUB_NAMES.includes(host);
}
