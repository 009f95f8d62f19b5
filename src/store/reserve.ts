import { rm, stat } from 'node:fs/promises';
import { isQuayctlError } from '../base/errors.ts';
import { replacePrivateFile } from './disk.ts';
import type { StorePaths } from './paths.ts';

/** Enough for a lease, a lock and an index.json of hundreds of images. */
const RESERVE_BYTES = 256 * 1024;

/** A file that is given up when the disk is full: removing images takes space first, for an index without them. */
export async function keepReserve(paths: StorePaths): Promise<void> {
  const present = await stat(paths.reserve).catch(() => undefined);
  if (present !== undefined) return;
  // Without it the store works all the same, until the disk is full.
  await replacePrivateFile(paths.own('tmp'), paths.reserve, Buffer.alloc(RESERVE_BYTES)).catch(
    () => undefined,
  );
}

/** Runs what will free space; on a full disk once more, at the expense of the reserve. */
export async function withReserve<T>(paths: StorePaths, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isQuayctlError(error, 'disk-full')) throw error;
    await rm(paths.reserve, { force: true }).catch(() => undefined);
    try {
      return await work();
    } finally {
      await keepReserve(paths);
    }
  }
}
