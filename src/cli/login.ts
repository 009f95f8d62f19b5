import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { guarded, type Credential } from '../credentials/credential.ts';
import { canonicalRegistry } from '../credentials/registry-name.ts';
import { ask, readSecret, type Keyboard } from './secret-prompt.ts';

export interface LoginRequest {
  /** As typed: `docker.io`, `https://index.docker.io/v1/`, `host:5000`. */
  readonly registry: string;
  readonly username?: string | undefined;
  /** The password is all of stdin. */
  readonly passwordStdin: boolean;
}

export interface LoginDependencies {
  readonly keychain: {
    check(signal: AbortSignal): Promise<void>;
    keep(registry: string, username: string, password: string, signal: AbortSignal): Promise<void>;
  };
  /** Where passwords go without a keychain. */
  readonly elsewhere: {
    /** For people. */
    place(registry: string): Promise<string>;
    keep(registry: string, username: string, password: string, signal: AbortSignal): Promise<void>;
  };
  /** Asks the registry. @throws QuayctlError `unauthorized` and what a registry may else be to blame for */
  readonly checkLogin: (registry: string, credential: Credential, signal: AbortSignal) => Promise<void>;
  readonly keyboard: Keyboard;
  /** stderr: a login has no data. */
  readonly write: (text: string) => void;
  readonly signal: AbortSignal;
}

/**
 * `quayctl login`: nothing is kept that the registry did not accept. Without a keychain a password goes where `docker login`
 * puts it; who types it is told so before.
 * @throws QuayctlError `usage`, `credentials`, `unauthorized`, `interrupted`, `unreachable`
 */
export async function runLogin(request: LoginRequest, dependencies: LoginDependencies): Promise<void> {
  const { checkLogin, write, signal } = dependencies;
  const registry = registryArgument(request.registry);
  refuseWhatCannotBeAsked(request, dependencies.keyboard);
  const keeper = await keeperOf(registry, dependencies);
  const { username, password } = await askUser(registry, request, dependencies);
  await checkLogin(registry, guarded({ kind: 'basic', username, password }), signal);
  await keeper.keep(registry, username, password, signal);
  write(`Logged in to ${registry} as ${username}\n`);
}

/** The keychain, else Docker's own place; says why, and which. @throws QuayctlError `credentials` */
async function keeperOf(
  registry: string,
  { keychain, elsewhere, write, signal }: LoginDependencies,
): Promise<Pick<LoginDependencies['elsewhere'], 'keep'>> {
  try {
    await keychain.check(signal);
    return keychain;
  } catch (error) {
    signal.throwIfAborted();
    if (!isQuayctlError(error, 'credentials')) throw error;
    write(`No keychain: ${error.message}\nThe password goes into ${await elsewhere.place(registry)}\n`);
    return elsewhere;
  }
}

/** @throws QuayctlError `usage`; what was typed is not repeated when it holds a password */
export function registryArgument(text: string): string {
  const registry = canonicalRegistry(text);
  if (registry !== undefined) return registry;
  const shown = text.includes('@') ? '' : `: ${JSON.stringify(text.slice(0, 100))}`;
  throw new QuayctlError('usage', `not a registry${shown}`, {
    hint: 'write its host, as in docker.io, quay.io or localhost:5000',
  });
}

function refuseWhatCannotBeAsked({ username, passwordStdin }: LoginRequest, keyboard: Keyboard): void {
  if (passwordStdin && username === undefined) {
    throw new QuayctlError('usage', '--password-stdin needs --username');
  }
  // RFC 7617: the first colon ends the user-id.
  if (username === '' || username?.includes(':') === true) {
    throw new QuayctlError('usage', '--username: one character at least, and no colon');
  }
  if (!passwordStdin && keyboard.isTTY !== true) {
    throw new QuayctlError('usage', 'the password cannot be asked for: stdin is no terminal', {
      hint: 'pipe it in: quayctl login REGISTRY -u USER --password-stdin < FILE',
    });
  }
}

async function askUser(
  registry: string,
  request: LoginRequest,
  { keyboard, write, signal }: LoginDependencies,
): Promise<{ username: string; password: string }> {
  const username =
    request.username ?? (await ask(`Username for ${registry}: `, false, keyboard, write, signal)).trim();
  if (username === '' || username.includes(':')) {
    throw new QuayctlError('usage', 'a username has one character at least, and no colon');
  }
  const password = request.passwordStdin
    ? await readSecret(keyboard, signal)
    : await ask(`Password for ${username} at ${registry}: `, true, keyboard, write, signal);
  if (password === '') throw new QuayctlError('usage', 'no password was given');
  return { username, password };
}
