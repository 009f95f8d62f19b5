import { join } from 'node:path';
import { QuayctlError } from '../base/errors.ts';
import { redact } from '../base/redact.ts';
import { foundIn, type Credential, type CredentialStore } from './credential.ts';
import { DockerConfig, dockerConfigPath } from './docker-config.ts';
import { DockerLogin } from './docker-login.ts';
import { Keychain } from './keychain.ts';
import { PodmanAuth, podmanAuthPaths } from './podman-auth.ts';
import type { Environment } from './program.ts';
import { canonicalRegistry } from './registry-name.ts';
import { RKT_DIRECTORIES, RktAuth } from './rkt-auth.ts';

/** What the stores have to know of the machine and the user. */
export interface CredentialPlaces {
  readonly env: Environment;
  readonly home: string;
  readonly uid: number;
  /** The running Node: keytar is asked in a process of its own. undefined where quayctl is one file. */
  readonly nodePath: string | undefined;
  readonly rktDirectories?: readonly string[];
}

/** Every place in which a credential may be, in the order in which they are asked. Nothing is opened yet. */
export function credentialStores(places: CredentialPlaces): CredentialStore[] {
  const { env, home, uid } = places;
  return [
    openKeychain(places),
    new DockerConfig(dockerConfigPath(env, home), env),
    ...podmanAuthPaths(env, home, uid).map((path) => new PodmanAuth(path, env)),
    new RktAuth(places.rktDirectories ?? RKT_DIRECTORIES, env),
  ];
}

/** Docker's own place, for `login` where there is no keychain. */
export function openDockerLogin({
  env,
  home,
  uid,
}: Pick<CredentialPlaces, 'env' | 'home' | 'uid'>): DockerLogin {
  const listPath = join(configDirectory(env, home), 'quayctl/docker-logins.json');
  return new DockerLogin({ path: dockerConfigPath(env, home), listPath, env, uid });
}

/** The keychain and the list of registries that `login` noted. */
export function openKeychain({ env, home, nodePath }: Omit<CredentialPlaces, 'uid'>): Keychain {
  const listPath = join(configDirectory(env, home), 'quayctl/registries.json');
  return new Keychain({ listPath, nodePath, env });
}

function configDirectory(env: Environment, home: string): string {
  const config = env['XDG_CONFIG_HOME'];
  return config?.startsWith('/') === true ? config : join(home, '.config');
}

/**
 * The credential of the first store that has one; none means anonymous.
 *
 * A store that fails is warned about and passed over. Docker ends the pull there; but a broken helper should not stand
 * between a user and a public image, and for a private one the registry's 401 follows right after the warning.
 * @param repository undefined asks for the registry as a whole
 * @throws the signal's reason, nothing else
 */
export async function findCredential(
  registry: string,
  repository: string | undefined,
  stores: readonly CredentialStore[],
  onWarning: (message: string) => void,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  // A reference keeps the host as it was typed: QUAY.io.
  const host = canonicalRegistry(registry) ?? registry;
  for (const store of stores) {
    signal.throwIfAborted();
    try {
      const credential = await store.find(host, repository, signal);
      if (credential !== undefined) return foundIn(credential, { name: store.name });
    } catch (error) {
      signal.throwIfAborted();
      onWarning(`${told(error, store)}; looking for credentials for ${registry} elsewhere`);
    }
  }
  return undefined;
}

function told(error: unknown, { name }: CredentialStore): string {
  if (error instanceof QuayctlError) return redact(error.message);
  // An unforeseen error may quote what it choked on.
  return `${name} cannot be used`;
}
