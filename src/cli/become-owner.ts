import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';

const ANYBODY_WRITES = 0o002;

/**
 * Root, who is about to change what belongs to another user, goes on with that user's rights alone: what is written then
 * stays that user's, and no link of theirs leads root anywhere. Nothing happens for others than root, and where the path,
 * or the nearest directory above it that is there, is root's. There is no way back in this process.
 */
export async function becomeOwnerOf(path: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined);
    if (found === undefined && at !== dirname(at)) continue;
    if (found === undefined || found.uid === 0 || (found.mode & ANYBODY_WRITES) !== 0) return;
    process.setgroups?.([found.gid]);
    process.setgid?.(found.gid);
    process.setuid?.(found.uid);
    return;
  }
}
