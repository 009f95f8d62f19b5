import { chmod, lchown, mkdir, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { onDisk } from './disk.ts';

/** A shared directory: what is made in it belongs to its group, which may write. */
const SHARED_DIRECTORY = 0o2770;
const SHARED_FILE = 0o060;
const PASS_THROUGH = 0o001;

/**
 * Gives a group the right to use a store: every file and directory in it goes to the group, and what is made in it from
 * now on does, too. The store itself is made root's. As root.
 * @throws QuayctlError `store`
 */
export async function shareStore(root: string, gid: number): Promise<void> {
  await onDisk(`cannot share the store ${root}`, async () => {
    await mkdir(root, { recursive: true });
    await share(root, gid);
    // Members believe what is in it because nobody but root decides who is a member.
    await lchown(root, 0, gid);
    const parent = dirname(root);
    const { mode } = await stat(parent);
    // Without it nobody but the owner comes as far as the store.
    if ((mode & PASS_THROUGH) === 0) await chmod(parent, (mode & 0o7777) | PASS_THROUGH);
  });
}

async function share(directory: string, gid: number): Promise<void> {
  const { uid } = await stat(directory);
  await lchown(directory, uid, gid);
  await chmod(directory, SHARED_DIRECTORY);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await share(path, gid);
    // Another process may have removed it. Locks are symbolic links: who may write to their directory may remove them.
    else if (entry.isFile()) await shareFile(path, gid).catch(unlessGone);
  }
}

async function shareFile(path: string, gid: number): Promise<void> {
  const { uid, mode } = await stat(path);
  await lchown(path, uid, gid);
  await chmod(path, (mode & 0o777) | SHARED_FILE);
}

function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
