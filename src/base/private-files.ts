import { chmod, mkdir, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

const SETGID = 0o2000;
const GROUP = 0o070;
const PRIVATE_FILE = 0o600;
const SHARED_FILE = 0o660;
const PRIVATE_DIRECTORY = 0o700;

/**
 * A file that is private whatever the umask: 0600, or also for the group where its directory is shared with one.
 * @param path where the file is, or will be put by a rename
 */
export async function makePrivate(file: FileHandle, path: string): Promise<void> {
  await file.chmod((await isShared(dirname(path))) ? SHARED_FILE : PRIVATE_FILE);
}

/**
 * One directory, 0700 whatever the umask, or shared with a group where its parent is. One that is there already keeps
 * its mode.
 */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: PRIVATE_DIRECTORY });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  await chmod(path, PRIVATE_DIRECTORY | ((await isShared(dirname(path))) ? SETGID | GROUP : 0));
}

/** Shared with a group on purpose: whatever is made in it belongs to that group (setgid), which may write. */
async function isShared(directory: string): Promise<boolean> {
  const mode = await stat(directory).then(
    (found) => found.mode,
    () => 0,
  );
  return (mode & SETGID) !== 0 && (mode & 0o020) !== 0;
}
