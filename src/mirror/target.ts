import type { RequestContext } from '../http-server/request-context.ts';
import { DOCKER_HUB, isDockerHub } from '../image/docker-hub.ts';

/** Which registry a request is about, and what it asks of it. */
export interface Target {
  /** As `--registry` names it. */
  readonly registry: string;
  /** What follows `/v2/` and, in the path form, the registry. */
  readonly components: readonly string[];
  /**
   * `ns`: the caller names the registry in `?ns=`, and answers its challenges (containerd, Docker 28 and newer, buildkit).
   * `path`: the registry stands in the path (podman, CRI-O), or is Docker Hub (`registry-mirrors` of dockerd); such a caller
   * would ask a token server for the wrong repository, so it is asked for a password, which is good for that registry.
   */
  readonly form: 'ns' | 'path';
}

/**
 * Undefined for a registry that is not mirrored, and for none. Looks at the URL alone: a credential for another registry is not
 * read.
 */
export function targetOf(
  { components, query }: Pick<RequestContext, 'components' | 'query'>,
  registries: ReadonlySet<string>,
): Target | undefined {
  const named = query.getAll('ns').map(canonicalHost);
  const rest = components.slice(1);
  const [first] = named;
  if (first !== undefined) {
    const isOne = named.every((host) => host === first) && registries.has(first);
    return isOne ? { registry: first, components: rest, form: 'ns' } : undefined;
  }
  // In a path podman takes no colon: `registry.example.com_5000` for port 5000. No host name holds a `_` itself.
  const host = canonicalHost((rest[0] ?? '').replace(/_(\d+)$/, ':$1'));
  if (registries.has(host)) return { registry: host, components: rest.slice(1), form: 'path' };
  // Names of hosts hold a dot, a colon or nothing else than `localhost`; names in a repository of Docker Hub's do not begin so.
  const isHost = /[.:]/.test(host) || host === 'localhost';
  if (isHost || !registries.has(DOCKER_HUB)) return undefined;
  return { registry: DOCKER_HUB, components: rest, form: 'path' };
}

/** Host names know no case, and Docker Hub has several. */
export function canonicalHost(host: string): string {
  const lower = host.toLowerCase();
  return isDockerHub(lower) ? DOCKER_HUB : lower;
}

/** With whose right a registry is asked: that of who asks, in either form, or this node's own (`--node-auth`). */
export type AccessForm = Target['form'] | 'node';
