import { stat, statfs } from 'node:fs/promises';
import { QuayctlError } from '../base/errors.ts';
import { formatBytes } from '../base/units.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { onDisk } from './disk.ts';
import type { StorePaths } from './paths.ts';

/**
 * Asked before a download begins, so that a disk that is too small is told at once and not after an hour.
 * @param blobs what is to be downloaded; what an interrupted run left of them, and whole ones, count as here
 * @throws QuayctlError `disk-full`
 */
export async function assertRoom(paths: StorePaths, blobs: readonly Descriptor[]): Promise<void> {
  const missing = await Promise.all(
    blobs.map(async ({ digest, size }) => Math.max(0, size - (await bytesOf(paths, digest)))),
  );
  const needed = missing.reduce((sum, bytes) => sum + bytes, 0);
  const { bavail, bsize } = await onDisk('cannot measure the file system', () => statfs(paths.root));
  const free = bavail * bsize;
  if (needed <= free) return;
  throw new QuayctlError(
    'disk-full',
    `${formatBytes(needed)} are to be downloaded, and ${paths.root} has room for ${formatBytes(free)}`,
    {
      hint: 'free some space (quayctl store gc --max-size SIZE removes old images), or name another disk: --store',
    },
  );
}

async function bytesOf(paths: StorePaths, digest: Descriptor['digest']): Promise<number> {
  const whole = await stat(paths.blob(digest)).catch(() => undefined);
  if (whole !== undefined) return whole.size;
  // Sparse: stat(2) counts blocks of 512 bytes.
  const partial = await stat(paths.partial(digest)).catch(() => undefined);
  return (partial?.blocks ?? 0) * 512;
}
