import { registryArgument } from './login.ts';

export interface LogoutDependencies {
  readonly keychain: {
    /** @returns whether there was one */
    remove(registry: string, signal: AbortSignal): Promise<boolean>;
  };
  /** Where `login` keeps without a keychain. */
  readonly elsewhere: LogoutDependencies['keychain'];
  readonly write: (text: string) => void;
  readonly signal: AbortSignal;
}

/** `quayctl logout`: forgets what `quayctl login` kept, never what Docker or podman keep. */
export async function runLogout(registryText: string, dependencies: LogoutDependencies): Promise<void> {
  const { keychain, elsewhere, write, signal } = dependencies;
  const registry = registryArgument(registryText);
  const kept = await keychain.remove(registry, signal);
  const removed = (await elsewhere.remove(registry, signal)) || kept;
  write(
    removed
      ? `Removed the credential for ${registry}\n`
      : `There was no credential for ${registry} that quayctl keeps; those of docker login and podman login stay\n`,
  );
}
