import { join } from 'node:path';
import { findByHost, findInHelpers, readAuthFile } from './auth-file.ts';
import type { Credential, CredentialStore } from './credential.ts';
import type { Environment } from './program.ts';

/** Where `docker login` keeps what it was told: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`. */
export function dockerConfigPath(env: Environment, home: string): string {
  const folder = env['DOCKER_CONFIG'] ?? '';
  return join(folder === '' ? join(home, '.docker') : folder, 'config.json');
}

/**
 * Docker's config file (docker/cli `config/configfile`): credHelpers, credsStore, auths, in this order. Its keys are
 * hosts; a repository has no credential of its own here.
 */
export class DockerConfig implements CredentialStore {
  readonly name: string;
  readonly #env: Environment;

  /** @param env for the helpers; PATH says where they are */
  constructor(path: string, env: Environment) {
    this.name = path;
    this.#env = env;
  }

  async find(registry: string, _: string | undefined, signal: AbortSignal): Promise<Credential | undefined> {
    const file = await readAuthFile(this.name);
    signal.throwIfAborted();
    if (file === undefined) return undefined;
    return (await findInHelpers(file, registry, this.#env, signal)) ?? findByHost(file, registry);
  }
}
