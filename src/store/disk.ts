import { constants } from 'node:fs';
import { chmod, mkdir, open, readFile, stat } from 'node:fs/promises';
import { writeAtomically } from '../base/atomic-file.ts';
import { QuayctlError } from '../base/errors.ts';

/** Layers may hold secrets, so no other user of the machine may read them. */
const PRIVATE_DIRECTORY = 0o700;
const PRIVATE_FILE = 0o600;

/** One directory, 0700 whatever the umask. One that is there already keeps its mode. */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: PRIVATE_DIRECTORY });
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    throw error;
  }
  await chmod(path, PRIVATE_DIRECTORY);
}

/** Opens for reading and writing, makes it if need be, 0600 whatever the umask. */
export async function openPrivateFile(path: string): ReturnType<typeof open> {
  try {
    // Whoever could put a link there must not have us write to what it leads to.
    return await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  const handle = await open(path, 'wx+', PRIVATE_FILE);
  await handle.chmod(PRIVATE_FILE);
  return handle;
}

/**
 * Writes a private file at once, so that readers see the old one or the new one.
 * @param draftDirectory on the same file system
 * @param durable also after a crash of the machine, at the price of waiting for the disk
 */
export function replacePrivateFile(
  draftDirectory: string,
  path: string,
  bytes: Uint8Array,
  { durable = false }: { readonly durable?: boolean } = {},
): Promise<void> {
  return writeAtomically(path, bytes, { draftDirectory, durable, mode: PRIVATE_FILE });
}

/** The whole file; undefined where there is none, or one larger than anything of ours. */
export async function readBounded(path: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    const { size } = await stat(path);
    return size > maxBytes ? undefined : await readFile(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** What a rename changed is on the disk. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function isAbsent(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}

/**
 * A failed system call in words.
 * @param what was being done, e.g. `cannot write /cache/quayctl/index.json`
 * @returns QuayctlError `disk-full` or `store`; what is a QuayctlError already comes back as it is
 */
function diskError(error: unknown, what: string): Error {
  if (error instanceof QuayctlError) return error;
  const code = codeOf(error);
  if (code === undefined) return error instanceof Error ? error : new Error(String(error));
  const cause = error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const reason = code === 'ENOSPC' ? 'no space left on the device' : 'disk quota exceeded';
    return new QuayctlError('disk-full', `${what}: ${reason}`, {
      cause,
      hint: 'free some space there, or let go of old images with `quayctl store gc --max-size SIZE`',
    });
  }
  const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
  return new QuayctlError('store', `${what}: ${REASONS[code] ?? code}`, {
    cause,
    hint: denied ? 'name a directory that you may write to with --store DIR or QUAYCTL_STORE' : undefined,
  });
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EIO: 'input/output error of the disk',
  EMFILE: 'too many open files',
  ENOENT: 'no such file',
  ENOTDIR: 'a part of its path is not a directory',
  EPERM: 'not permitted',
  EROFS: 'the file system is read-only',
};

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/** Runs it, a failed system call becomes a QuayctlError. @throws QuayctlError `disk-full`, `store` */
export async function onDisk<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw diskError(error, what);
  }
}
