import { constants } from 'node:fs';
import { lstat, stat } from 'node:fs/promises';
import { QuayctlError } from './errors.ts';

/** Who may have made a file or directory that is believed. */
export interface OwnershipRule {
  /** Of this process; undefined on systems that have none. */
  readonly uid: number | undefined;
  /** Goes into the error: `the data directory`. */
  readonly what: string;
  /** Where root has made a directory for a group, its members may write to it. */
  readonly allowsGroupOfRoot?: boolean;
}

const OTHERS_WRITE = constants.S_IWOTH;
const GROUP_WRITES = constants.S_IWGRP;

/**
 * Refuses what another user than this one and root owns, or may write to: he could have put anything there, and can change it
 * while it is read. What is not there is not refused; it will be made, and be ours.
 * @throws QuayctlError `store`, with what to do
 */
export async function assertOwn(
  path: string,
  { uid, what, allowsGroupOfRoot }: OwnershipRule,
): Promise<void> {
  if (uid === undefined) return;
  // A link belongs to whoever decides where it leads; what it leads to is looked at as well.
  for (const look of [lstat, stat]) {
    const found = await look(path).catch(() => undefined);
    if (found === undefined) return;
    if (found.uid !== uid && found.uid !== 0) {
      throw refusal(
        `${what} ${path} belongs to another user (uid ${found.uid})`,
        uid,
        `run as that user, or`,
      );
    }
    if (found.isSymbolicLink()) continue;
    const isShared = allowsGroupOfRoot === true && found.uid === 0;
    if ((found.mode & OTHERS_WRITE) !== 0 || (!isShared && (found.mode & GROUP_WRITES) !== 0)) {
      throw refusal(`others may write to ${what} ${path}`, uid, `chmod go-w ${path}, or`);
    }
  }
}

function refusal(message: string, uid: number, hint: string): QuayctlError {
  return new QuayctlError('store', `${message}, so it is not used`, {
    hint: `${hint} name a place that only uid ${uid} and root write to`,
  });
}
