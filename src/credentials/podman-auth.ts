import { isAbsolute, join } from 'node:path';
import { findInAuths, findInHelpers, findInHelpersOr, readAuthFile } from './auth-file.ts';
import type { Credential, CredentialStore } from './credential.ts';
import type { Environment } from './program.ts';

/**
 * containers-auth.json(5): REGISTRY_AUTH_FILE in place of all others; else the runtime directory's file, which ends
 * with the session, then the lasting one.
 */
export function podmanAuthPaths(env: Environment, home: string, uid: number): string[] {
  const explicit = env['REGISTRY_AUTH_FILE'] ?? '';
  if (explicit !== '') return [explicit];
  const runtime = absolute(env['XDG_RUNTIME_DIR']);
  const config = absolute(env['XDG_CONFIG_HOME']) ?? join(home, '.config');
  return [
    runtime === undefined
      ? join('/run/containers', String(uid), 'auth.json')
      : join(runtime, 'containers/auth.json'),
    join(config, 'containers/auth.json'),
  ];
}

/**
 * podman's auth.json (containers/image `pkg/docker/config`): besides hosts it has namespaces as keys, the longest
 * wins: `quay.io/ns/repo`, then `quay.io/ns`, then `quay.io`.
 */
export class PodmanAuth implements CredentialStore {
  readonly name: string;
  readonly #env: Environment;

  constructor(path: string, env: Environment) {
    this.name = path;
    this.#env = env;
  }

  async find(
    registry: string,
    repository: string | undefined,
    signal: AbortSignal,
  ): Promise<Credential | undefined> {
    const file = await readAuthFile(this.name);
    signal.throwIfAborted();
    if (file === undefined) return undefined;
    return findInHelpersOr(
      () => findInHelpers({ ...file, store: undefined }, { registry, repository }, this.#env, signal),
      () => findInAuths(file, registry, repository, { anyNamespace: false }),
    );
  }
}

function absolute(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}
