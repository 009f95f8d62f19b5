import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mustRun, startProcess, type Scope } from './processes.ts';
import { programPath } from './programs.ts';
import { tempDirectory } from './temp.ts';

const START_MS = 20_000;

/** A desktop's keychain without the desktop: a message bus of its own and an unlocked gnome-keyring on it. */
export interface TestKeychain {
  /** The environment in which programs find it. */
  readonly env: Readonly<Record<string, string>>;
}

/** Needs dbus-daemon and gnome-keyring-daemon: `skipWithout('dbus-daemon', 'gnome-keyring-daemon')`. */
export async function startKeychain(scope: Scope): Promise<TestKeychain> {
  const home = await tempDirectory(scope, 'keychain');
  const runtime = join(home, 'run');
  await mkdir(runtime, { mode: 0o700 });
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, XDG_RUNTIME_DIR: runtime, LANG: 'C.UTF-8' };
  const bus = startProcess(
    programPath('dbus-daemon'),
    ['--session', '--nofork', '--nopidfile', '--print-address'],
    {
      env,
    },
  );
  scope.after(() => void bus.kill('SIGKILL'));
  const [address] = await bus.waitFor(/^unix:\S+/m);
  const session = { ...env, DBUS_SESSION_BUS_ADDRESS: address };
  const keyring = startProcess(
    programPath('gnome-keyring-daemon'),
    ['--foreground', '--unlock', '--components=secrets'],
    { env: session, input: 'the password of the keyring' },
  );
  scope.after(() => void keyring.kill('SIGKILL'));
  await secretServiceIsUp(session);
  return { env: session };
}

/** gnome-keyring says nothing when it is ready; the bus knows. */
async function secretServiceIsUp(env: NodeJS.ProcessEnv): Promise<void> {
  const call = ['--session', '--print-reply', '--dest=org.freedesktop.DBus', '/org/freedesktop/DBus'];
  const question = ['org.freedesktop.DBus.NameHasOwner', 'string:org.freedesktop.secrets'];
  const deadline = performance.now() + START_MS;
  while (!(await mustRun(programPath('dbus-send'), [...call, ...question], { env })).includes('true')) {
    if (performance.now() > deadline) throw new Error(`no keychain on the bus after ${START_MS} ms`);
  }
}
