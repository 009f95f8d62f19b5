import { constants } from 'node:fs';
import { open, readFile, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeAtomically } from '../base/atomic-file.ts';
import { QuayctlError } from '../base/errors.ts';
import { makePrivate } from '../base/private-files.ts';

/** Layers may hold secrets, so no other user of the machine may read them. */
const PRIVATE_FILE = 0o600;

/** Opens for reading and writing, makes it if need be: private, or shared as its directory is. */
export async function openPrivateFile(path: string): ReturnType<typeof open> {
  try {
    // Whoever could put a link there must not have us write to what it leads to.
    return await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  const handle = await open(path, 'wx+', PRIVATE_FILE);
  await makePrivate(handle, path);
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
  const prepare = (draft: FileHandle): Promise<void> => makePrivate(draft, path);
  return writeAtomically(path, bytes, { draftDirectory, durable, mode: PRIVATE_FILE, prepare });
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
async function diskError(error: unknown, what: string): Promise<Error> {
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
    hint: denied ? await deniedHint(error) : undefined,
  });
}

/** Whose it is that may not be touched, and what helps. */
async function deniedHint(error: unknown): Promise<string> {
  const { path } = error as NodeJS.ErrnoException;
  const owner = path === undefined ? undefined : await ownerOf(path);
  if (owner === undefined) return 'name a directory that you may write to';
  const share = '`quayctl store share --group GROUP` shares a store';
  return `${owner.path} belongs to user ${owner.uid}: chown it, or name another place with --store DIR or QUAYCTL_STORE; ${share}`;
}

/** Of the nearest directory that can be looked at. */
async function ownerOf(path: string): Promise<{ readonly path: string; readonly uid: number } | undefined> {
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined);
    if (found !== undefined) return { path: at, uid: found.uid };
    if (at === dirname(at)) return undefined;
  }
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
    throw await diskError(error, what);
  }
}
