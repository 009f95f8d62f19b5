import { inspect } from 'node:util';

/** What a registry is shown. Never logged, never put into a URL. */
export type Credential = Secret & { readonly source?: CredentialSource };

/** Where a credential was found, for whoever has to replace it. */
export interface CredentialSource {
  /** As CredentialStore.name. */
  readonly name: string;
  /** It is asked before the keychain, so that a login does not replace what it has. */
  readonly isFirst?: true;
}

type Secret =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token (docker config's `identitytoken`). */
  | { readonly kind: 'identity-token'; readonly username?: string; readonly token: string }
  /** A Bearer token, used as it is (docker config's `registrytoken`). */
  | { readonly kind: 'registry-token'; readonly token: string };

/** One place where credentials are kept. Its in-memory twin lives with the tests. */
export interface CredentialStore {
  /** For warnings: `the keychain`, `/home/me/.docker/config.json`. */
  readonly name: string;
  /**
   * @param registry canonical, as in an ImageReference: `docker.io`, `localhost:5000`
   * @param repository for stores with keys below the host; undefined asks for the host's own
   * @returns undefined where the store has none
   * @throws QuayctlError `credentials` when the store cannot be read; the signal's reason
   */
  find(
    registry: string,
    repository: string | undefined,
    signal: AbortSignal,
  ): Promise<Credential | undefined>;
}

const SECRETS = new Set(['password', 'token']);

/** The same credential, whose secret shows neither in JSON nor where the object is printed. */
export function guarded(credential: Credential): Credential {
  const shown = (): object =>
    Object.fromEntries(
      Object.entries(credential).map(([name, value]) => [name, SECRETS.has(name) ? '[redacted]' : value]),
    );
  const hidden = { enumerable: false, value: shown };
  return Object.defineProperties({ ...credential }, { toJSON: hidden, [inspect.custom]: hidden });
}

/** The same credential, which says where it was found. */
export function foundIn(credential: Credential, source: CredentialSource): Credential {
  return guarded({ ...credential, source });
}
