import { guarded, type Credential, type CredentialStore } from '../../src/credentials/credential.ts';

/** The CredentialStore that has nothing outside of itself. */
export function memoryStore(credentials: Readonly<Record<string, Credential>>): CredentialStore {
  return {
    name: 'the memory',
    find: async (registry, _repository, signal) => {
      signal.throwIfAborted();
      const credential = Object.hasOwn(credentials, registry) ? credentials[registry] : undefined;
      return credential === undefined ? undefined : guarded(credential);
    },
  };
}
