import { join } from 'node:path';
import { findInAuths, findInHelpers, findInHelpersOr, readAuthFile } from './auth-file.ts';
import type { Credential, CredentialStore } from './credential.ts';
import type { Environment } from './program.ts';

/** Where `docker login` keeps what it was told: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`. */
export function dockerConfigPath(env: Environment, home: string): string {
  const folder = env['DOCKER_CONFIG'] ?? '';
  return join(folder === '' ? join(home, '.docker') : folder, 'config.json');
}

/**
 * Docker's config file (docker/cli `config/configfile`): credHelpers, credsStore, auths, in this order. Pull secrets of
 * Kubernetes, and set-ups of GitLab and Google, have keys with a path below the host; of several the longest counts.
 */
export class DockerConfig implements CredentialStore {
  readonly name: string;
  readonly #env: Environment;

  /** @param env for the helpers; PATH says where they are */
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
      () => findInHelpers(file, { registry, repository }, this.#env, signal),
      () => findInAuths(file, registry, repository, { anyNamespace: true }),
    );
  }
}
