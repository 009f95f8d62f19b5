import { chmod, chown, mkdir, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Who owns a file or directory, and its mode. */
interface Owned {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

const SETGID = 0o2000;
const GROUP = 0o070;
const PRIVATE_FILE = 0o600;
const PRIVATE_DIRECTORY = 0o700;

/**
 * Owner, group and mode that a private file at `path` is to have: those of the file that it replaces, else what its
 * directory says. A directory that is shared with a group (setgid) shares its files, too.
 */
async function wantedFor(path: string, self: FileHandle): Promise<Owned | undefined> {
  const [found, own] = [await stat(path).catch(() => undefined), await self.stat()];
  // A new file that is at its place already replaces nothing.
  if (found !== undefined && found.ino !== own.ino) return { uid: found.uid, gid: found.gid, mode: found.mode & 0o777 };
  const parent = await stat(dirname(path)).catch(() => undefined);
  if (parent === undefined) return undefined;
  const mode = isShared(parent.mode) ? PRIVATE_FILE | 0o060 : PRIVATE_FILE;
  return { uid: parent.uid, gid: parent.gid, mode };
}

/**
 * What root writes into somebody else's directory stays readable for that somebody: the file gets the owner, group and
 * mode of the file that it replaces, else those that its directory asks for. Whoever may not change an owner keeps the
 * file, as with any other program.
 * @param path where the file is, or will be put by a rename
 */
export async function inheritOwner(file: FileHandle, path: string): Promise<void> {
  const wanted = await wantedFor(path, file);
  if (wanted === undefined) return file.chmod(PRIVATE_FILE);
  await file.chmod(wanted.mode);
  const own = await file.stat();
  if (own.uid === wanted.uid && own.gid === wanted.gid) return;
  await file.chown(wanted.uid, wanted.gid).catch(() => undefined);
}

/**
 * One directory, 0700 whatever the umask, or shared with a group where its parent is; with the owner of its parent.
 * One that is there already stays as it is.
 */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: PRIVATE_DIRECTORY });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  const parent = await stat(dirname(path));
  const own = await stat(path);
  if (own.uid !== parent.uid && !isPublic(parent.mode))
    await chown(path, parent.uid, parent.gid).catch(() => undefined);
  await chmod(path, PRIVATE_DIRECTORY | (isShared(parent.mode) ? SETGID | GROUP : 0));
}

/** As `makePrivateDirectory`, with its parents. */
export async function makePrivateDirectories(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined) return;
  const parent = dirname(path);
  if (parent !== path) await makePrivateDirectories(parent);
  await makePrivateDirectory(path);
}

/** Shared with a group on purpose: whatever is made in it belongs to that group, which may write. */
function isShared(mode: number): boolean {
  return (mode & SETGID) !== 0 && (mode & 0o020) !== 0;
}

/** Anybody may write there, as in /tmp: what is made there is its maker's. */
function isPublic(mode: number): boolean {
  return (mode & 0o002) !== 0;
}
