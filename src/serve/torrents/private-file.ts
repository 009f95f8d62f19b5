import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeAtomically } from '../../base/atomic-file.ts';

const PRIVATE = { mode: 0o600, durable: true };

/** Replaces a file at once, readable by its owner only; a crash leaves the old one or the new one. */
export async function writePrivateFile(path: string, bytes: Uint8Array): Promise<void> {
  await makeDirectoryOf(path);
  await writeAtomically(path, bytes, PRIVATE);
}

/** Like writePrivateFile, but the first of several writers wins. @returns false where there was a file already */
export async function createPrivateFile(path: string, bytes: Uint8Array): Promise<boolean> {
  await makeDirectoryOf(path);
  try {
    await writeAtomically(path, bytes, { ...PRIVATE, exclusive: true });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function makeDirectoryOf(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
}
