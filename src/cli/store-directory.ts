import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { assertOwn } from '../base/ownership.ts';
import { xdgDirectory, type Session } from './session.ts';

/** The store of the seed unit; where it is shared, that of everybody on this machine who may write to it. */
export const MACHINE_STORE = '/var/lib/quayctl/store';
const SETGID = 0o2000;

/** `--store`, QUAYCTL_STORE; the machine's store where it is shared with this user; `$XDG_CACHE_HOME/quayctl`. */
export function storeDirectory(given: string | undefined, session: Session): string {
  if (given !== undefined) return resolve(given);
  return isSharedWithUs(MACHINE_STORE) ? MACHINE_STORE : xdgDirectory(session, 'XDG_CACHE_HOME', '.cache');
}

function isSharedWithUs(path: string): boolean {
  try {
    if ((statSync(path).mode & SETGID) === 0) return false;
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What another user may have put into a store is not believed, least of all by root. @throws QuayctlError `store` */
export async function ownStoreDirectory(given: string | undefined, session: Session): Promise<string> {
  const directory = storeDirectory(given, session);
  await assertOwn(directory, { uid: session.uid, what: 'the store', allowsGroupOfRoot: true });
  return directory;
}
