import { QuayctlError } from '../base/errors.ts';
import { shown, type ByteString } from '../tar/entry.ts';
import type { TreeNode } from './tree.ts';

/** As many symbolic links as Linux follows on the way to one file (path_resolution(7)). */
const MAX_LINKS = 40;

/** A name in a directory, or undefined where there is none. */
export type Step = (directory: TreeNode, name: ByteString) => TreeNode | undefined;

/**
 * The directory of that path as an engine finds it, whose root is the image's own: symbolic links on the way are
 * followed, absolute ones from that root, and above it is nothing.
 * @param path without `.` and `..`; the root is empty
 * @param step how the tree is read, or made on the way
 * @param onLink told how many names a link puts on the way
 * @returns undefined where `step` finds nothing
 * @throws QuayctlError `protocol` where something else lies on the way, or links lead in a circle
 */
export function walkPath(
  root: TreeNode,
  path: ByteString,
  step: Step,
  onLink: (names: number) => void,
): TreeNode | undefined {
  const ahead = namesOf(path);
  let links = 0;
  let directory = root;
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      directory = directory.parent ?? root;
      continue;
    }
    const next = step(directory, name);
    if (next === undefined) return undefined;
    const { inode } = next;
    if (inode?.metadata?.type === 'symlink') {
      if (++links > MAX_LINKS) {
        throw new QuayctlError('protocol', `too many symbolic links lead to ${shown(path)}`);
      }
      const { linkPath } = inode.metadata;
      const names = namesOf(linkPath);
      onLink(names.length);
      if (linkPath.startsWith('/')) directory = root;
      for (const each of names) ahead.push(each);
    } else if (next.isDirectory) directory = next;
    else {
      throw new QuayctlError(
        'protocol',
        `${shown(path)} is to be a directory, and ${shown(next.path)} is none`,
      );
    }
  }
  return directory;
}

/** Last first. */
function namesOf(path: ByteString): ByteString[] {
  return path.split('/').toReversed();
}
