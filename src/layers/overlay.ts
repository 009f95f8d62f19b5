import type { TreeNode } from './tree.ts';

/**
 * Lays one layer over the merged ones below, into their tree: as overlayfs shows them, where a directory and a
 * directory of the same name are one, and anything else hides what is below.
 */
export function overlay(lower: TreeNode, upper: TreeNode): void {
  const pairs = [{ lower, upper }];
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    for (const both of overlayOne(pair.lower, pair.upper)) pairs.push(both);
  }
}

/** @returns the directories that are in both */
function overlayOne(below: TreeNode, above: TreeNode): { lower: TreeNode; upper: TreeNode }[] {
  below.inode = above.inode ?? below.inode;
  if (above.hidesLower) below.children?.clear();
  const both: { lower: TreeNode; upper: TreeNode }[] = [];
  for (const [name, upper] of above.children ?? []) {
    const lower = below.children?.get(name);
    if (upper.isWhiteout) below.children?.delete(name);
    else if (upper.isDirectory && lower?.isDirectory === true) both.push({ lower, upper });
    else {
      upper.parent = below;
      below.children?.set(upper.name, upper);
      dropWhiteouts(upper);
    }
  }
  return both;
}

/** There is nothing below any more for them to hide. */
function dropWhiteouts(tree: TreeNode): void {
  const ahead = [tree];
  for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
    for (const [name, child] of node.children ?? []) {
      if (child.isWhiteout) node.children?.delete(name);
      else if (child.isDirectory) ahead.push(child);
    }
  }
}
