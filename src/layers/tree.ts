import type { ByteString, Metadata } from '../tar/entry.ts';
import type { Relink } from './metadata.ts';

/**
 * What one or more names stand for. An image has several hundred thousand of these and of the nodes below, so every
 * field counts: of a file only its place is kept, what it is is read again together with its content.
 */
export interface Inode {
  /** Which layer, base first, and which entry of it. */
  readonly layer: number;
  readonly entry: number;
  /** Of all but files. */
  readonly metadata: Metadata | undefined;
  /** What the hard links to it within its layer set, all of them together. */
  relink: Relink | undefined;
  /** How many names are hard links to it. */
  links: number;
  /** Bytes of its extended attributes, which each of its names says. */
  readonly attributeBytes: number;
  /** The name under which it is written first; the others are hard links to that. */
  first: TreeNode | undefined;
}

/**
 * A name in a tree. A directory has `children`; one of which no entry speaks has no inode. With neither, it is a
 * whiteout.
 */
export class TreeNode {
  readonly name: ByteString;
  parent: TreeNode | undefined;
  inode: Inode | undefined;
  children: Map<ByteString, TreeNode> | undefined;
  /** Nothing shines through from the layers below: deleted there, or opaque. */
  hidesLower = false;

  constructor(name: ByteString, parent: TreeNode | undefined) {
    this.name = name;
    this.parent = parent;
  }

  get isDirectory(): boolean {
    return this.children !== undefined;
  }

  get isWhiteout(): boolean {
    return this.children === undefined && this.inode === undefined;
  }

  /** From the root, which is empty. */
  get path(): ByteString {
    if (this.parent === undefined) return '';
    const above = this.parent.path;
    return above === '' ? this.name : `${above}/${this.name}`;
  }
}

export function emptyTree(): TreeNode {
  const root = new TreeNode('', undefined);
  root.children = new Map();
  return root;
}

/** All below, parents first, siblings in the order of their bytes. */
export function* walk(node: TreeNode): Generator<TreeNode> {
  const ahead = [node];
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    yield next;
    const children = [...(next.children?.values() ?? [])];
    // One by one: arguments of a call are bounded by the stack, and directories are not.
    for (const child of children.sort((one, other) => (one.name < other.name ? 1 : -1))) ahead.push(child);
  }
}
