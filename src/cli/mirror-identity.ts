import { accessSync, constants } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { xdgDirectory, type Session } from './session.ts';

/** Of the mirror that stands for the whole machine; the unit's state directory. */
const MACHINE_IDENTITY = '/var/lib/quayctl/mirror.pem';

/** The unit's runtime directory. */
const MACHINE_CONTROL = '/run/quayctl/mirror.sock';

/** `--identity`; the machine's for root and for who may write there, else one of this user's own. */
export function identityPath(given: string | undefined, session: Session, root = '/'): string {
  if (given !== undefined) return resolve(given);
  const machine = join(root, MACHINE_IDENTITY);
  if (session.uid === 0 || mayWrite(dirname(machine))) return machine;
  return join(xdgDirectory(session, 'XDG_STATE_HOME', '.local/state'), 'mirror.pem');
}

/** `--control`; the machine's for root and for who may write there, else one of this user's own. */
export function controlPath(given: string | undefined, session: Session): string {
  if (given !== undefined) return resolve(given);
  if (session.uid === 0 || mayWrite(dirname(MACHINE_CONTROL))) return MACHINE_CONTROL;
  return join(
    session.env['XDG_RUNTIME_DIR'] ?? xdgDirectory(session, 'XDG_STATE_HOME', '.local/state'),
    'quayctl-mirror.sock',
  );
}

function mayWrite(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
