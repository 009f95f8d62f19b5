import { Http } from '../http/http.ts';
import { checkLogin } from '../registry/open-repository.ts';
import { sessionDockerLogin, sessionKeychain } from './credentials.ts';
import { runLogin } from './login.ts';
import { runLogout } from './logout.ts';
import { CERTS_DIRECTORY } from './paths.ts';
import type { Session } from './session.ts';

interface LoginFlags {
  readonly username?: string;
  readonly passwordStdin?: boolean;
  readonly insecure?: boolean;
}

/** `quayctl login REGISTRY` @throws QuayctlError `usage`, `credentials`, `unauthorized`, `unreachable` */
export async function login(registry: string, flags: LoginFlags, session: Session): Promise<void> {
  const http = new Http({ env: session.env, certsDirectory: CERTS_DIRECTORY });
  const onWarning = (message: string): void => session.terminal.err(`warning: ${message}\n`);
  const insecure = flags.insecure ?? false;
  try {
    await runLogin(
      { registry, username: flags.username, passwordStdin: flags.passwordStdin ?? false },
      {
        keychain: sessionKeychain(session),
        elsewhere: sessionDockerLogin(session),
        checkLogin: (host, credential, signal) =>
          checkLogin({ registry: host, credential, http, insecure, onWarning }, signal),
        keyboard: session.terminal.stdin,
        write: session.terminal.err,
        signal: session.signal,
      },
    );
  } finally {
    await http.close();
  }
}

/** `quayctl logout REGISTRY` */
export async function logout(registry: string, session: Session): Promise<void> {
  await runLogout(registry, {
    keychain: sessionKeychain(session),
    elsewhere: sessionDockerLogin(session),
    write: session.terminal.err,
    signal: session.signal,
  });
}
