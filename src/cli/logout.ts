import { registryArgument } from './login.ts';

export interface LogoutDependencies {
  readonly keychain: {
    /** @returns whether there was one */
    remove(registry: string, signal: AbortSignal): Promise<boolean>;
  };
  readonly write: (text: string) => void;
  readonly signal: AbortSignal;
}

/** `quayctl logout`: forgets what `quayctl login` kept, never what Docker or podman keep. */
export async function runLogout(registryText: string, dependencies: LogoutDependencies): Promise<void> {
  const { keychain, write, signal } = dependencies;
  const registry = registryArgument(registryText);
  const removed = await keychain.remove(registry, signal);
  write(
    removed
      ? `Removed the credential for ${registry}\n`
      : `There was no credential for ${registry} in the keychain; those of docker login and podman login stay\n`,
  );
}
