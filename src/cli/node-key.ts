import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createPrivateFile } from '../serve/torrents/private-file.ts';
import { NodeKey } from '../swarm/admission/node-key.ts';
import { xdgDirectory, type Session } from './session.ts';

/** A P-256 key in PEM has 241 bytes. */
const MAX_BYTES = 4096;
const NOT_THE_OWNERS_ALONE = 0o077;
const WRITABLE_BY_OTHERS = 0o022;

/** Why a file is not believed to be this user's key, for people. */
class Unusable extends Error {}

/**
 * The key by which other nodes know this user's: `$XDG_STATE_HOME/quayctl/node.key`, made when there is none. A file that
 * is not this user's alone is passed over with a warning, and so is a directory that cannot be written to: this run then
 * has a key of its own, which serves as well while it lasts.
 */
export async function openNodeKey(session: Session, onWarning: (message: string) => void): Promise<NodeKey> {
  const path = join(xdgDirectory(session, 'XDG_STATE_HOME', '.local/state'), 'node.key');
  try {
    const known = await readKey(path);
    if (known !== undefined) return known;
    const made = NodeKey.generate();
    // Of several processes that make one at once, all use the first.
    if (await createPrivateFile(path, Buffer.from(made.pem))) return made;
    return (await readKey(path)) ?? made;
  } catch (error) {
    if (!(error instanceof Unusable) && (error as NodeJS.ErrnoException).code === undefined) throw error;
    const isReadOnly = ['EROFS', 'EACCES', 'EPERM', 'ENOENT', 'ENOTDIR'].includes(
      (error as NodeJS.ErrnoException).code ?? '',
    );
    const why = error instanceof Error ? error.message : String(error);
    if (!isReadOnly)
      onWarning(`${path} is not used (${why}); this run has a key of its own towards other nodes`);
    return NodeKey.generate();
  }
}

/** @returns undefined where there is none @throws Unusable */
async function readKey(path: string): Promise<NodeKey | undefined> {
  // A link would lead to a file of somebody else's choice.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw new Unusable('it is a symbolic link');
    if (code === 'EACCES') throw new Unusable('this user may not read it');
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    const stats = await file.stat();
    const folder = await lstat(dirname(path));
    const uid = process.getuid?.();
    if (!stats.isFile()) throw new Unusable('it is no file');
    if (uid !== undefined) {
      if (stats.uid !== uid) throw new Unusable('it belongs to another user');
      if ((stats.mode & NOT_THE_OWNERS_ALONE) !== 0)
        throw new Unusable('others may read or write it: chmod 600');
      if (folder.uid !== uid || (folder.mode & WRITABLE_BY_OTHERS) !== 0)
        throw new Unusable('others may write to its directory');
    }
    if (stats.size > MAX_BYTES) throw new Unusable('it is no key');
    return parse(await file.readFile('utf8'));
  } finally {
    await file.close();
  }
}

function parse(pem: string): NodeKey {
  try {
    return NodeKey.parse(pem);
  } catch {
    throw new Unusable('it is no key; once it is removed, another is made');
  }
}
