import { QuayctlError } from '../base/errors.ts';
import { attributeBytesOf, type Budget } from './budget.ts';
import { byteString, shown, type ByteString, type Entry } from '../tar/entry.ts';
import { metadataOf, ownCopy, relink } from './metadata.ts';
import { emptyTree, TreeNode, type Inode } from './tree.ts';
import { walkPath } from './walk-path.ts';

/** OCI image-spec layer.md, "Whiteouts". */
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Of AUFS, for itself: `.wh..wh.plnk`, `.wh..wh.aufs`. */
const AUFS_OWN = '.wh..wh.';
/** The other spelling of the same: overlayfs's own notes, as they lie on a disk. */
const OVERLAY_OPAQUE = 'trusted.overlay.opaque';

/** As many as ext4 lets a file have; no image can be unpacked that has more. */
const MAX_LINKS = 65_000;

/**
 * One layer's tree, as an extractor makes it of the entries in their order, where a later one replaces an earlier one;
 * what it takes away from the layers below is noted in it. Entries are read with the eyes of Docker (moby
 * pkg/archive): a path leads through symbolic links of the same layer, and never out of the image. Where such a link
 * leads to a directory that this layer does not bring, that directory is made, as containerd makes it; Docker's own
 * graph driver fails there.
 */
export class LayerTree {
  readonly root = emptyTree();
  readonly #layer: number;
  readonly #lower: TreeNode;
  readonly #budget: Budget;

  /** @param lower the merged layers below, where hard links may lead */
  constructor(layer: number, lower: TreeNode, budget: Budget) {
    this.#layer = layer;
    this.#lower = lower;
    this.#budget = budget;
  }

  /**
   * @param entry its number in the layer
   * @throws QuayctlError `protocol`, `limit`
   */
  add(header: Entry, entry: number): void {
    this.#budget.spend(header);
    if (header.path === '') return this.#setRoot(header, entry);
    const slash = header.path.lastIndexOf('/');
    const parent = this.#directory(header.path.slice(0, Math.max(0, slash)));
    const name = header.path.slice(slash + 1);
    if (name === OPAQUE) parent.hidesLower = true;
    else if (name.startsWith(AUFS_OWN)) return;
    else if (name.startsWith(WHITEOUT)) this.#hide(parent, name.slice(WHITEOUT.length));
    else if (isOverlayWhiteout(header)) clear(this.#hide(parent, name));
    else if (header.type === 'hardlink') this.#link(parent, name, header);
    else this.#put(parent, name, header, entry);
  }

  /** The root is a directory whatever an entry says, and engines do not look at one that says something else. */
  #setRoot(header: Entry, entry: number): void {
    if (header.type === 'directory') this.root.inode = this.#inode(header, entry);
  }

  /** The directory of that path, made on the way where no entry spoke of it. */
  #directory(path: ByteString): TreeNode {
    const step = (directory: TreeNode, name: ByteString): TreeNode => {
      const node = this.#child(directory, name);
      if (node.isWhiteout) node.children = new Map();
      return node;
    };
    return walkPath(this.root, path, step, this.#onLink) ?? this.root;
  }

  readonly #onLink = (names: number): void => this.#budget.follow(names);

  /** What a path leads to in a tree; it is not followed if it is a symbolic link itself (link(2)). */
  #find(root: TreeNode, path: ByteString): TreeNode | undefined {
    const slash = path.lastIndexOf('/');
    const step = (directory: TreeNode, name: ByteString): TreeNode | undefined => {
      const node = directory.children?.get(name);
      return node?.isDirectory === true || node?.inode?.metadata?.type === 'symlink' ? node : undefined;
    };
    const directory = walkPath(root, path.slice(0, Math.max(0, slash)), step, this.#onLink);
    return directory?.children?.get(path.slice(slash + 1));
  }

  #child(parent: TreeNode, name: ByteString): TreeNode {
    const known = parent.children?.get(name);
    if (known !== undefined) return known;
    this.#budget.node();
    const child = new TreeNode(ownCopy(name), parent);
    parent.children?.set(child.name, child);
    return child;
  }

  #hide(parent: TreeNode, name: ByteString): TreeNode {
    if (name === '' || name === '.' || name === '..') {
      throw new QuayctlError('protocol', `a whiteout of ${shown(name)}`);
    }
    const node = this.#child(parent, name);
    node.hidesLower = true;
    return node;
  }

  #put(parent: TreeNode, name: ByteString, header: Entry, entry: number): void {
    const node = this.#child(parent, name);
    node.inode = this.#inode(header, entry);
    if (header.type !== 'directory') node.children = undefined;
    else node.children ??= new Map();
    if (isOverlayOpaque(header)) node.hidesLower = true;
  }

  /** A link into a layer below is a name of that file as it is; one within the layer sets what its header says. */
  #link(parent: TreeNode, name: ByteString, header: Entry): void {
    const target = this.#find(this.root, header.linkPath) ?? this.#find(this.#lower, header.linkPath);
    if (target?.isDirectory === true) throw wrongLink(header, 'is a directory');
    const node = this.#child(parent, name);
    // A name is taken away before it is made anew, and with it what it would be a link to.
    const isItself = target === node || header.path === header.linkPath;
    if (target?.inode === undefined || isItself) throw wrongLink(header, 'is not there');
    const { inode } = target;
    if (++inode.links > MAX_LINKS) throw wrongLink(header, `has more than ${MAX_LINKS} of them`);
    this.#budget.attributes(inode.attributeBytes);
    if (inode.layer === this.#layer) inode.relink = relink(inode.relink, header);
    node.inode = inode;
    node.children = undefined;
  }

  #inode(header: Entry, entry: number): Inode {
    const metadata = header.type === 'file' ? undefined : metadataOf(header);
    const attributeBytes = attributeBytesOf(header);
    return {
      layer: this.#layer,
      entry,
      metadata,
      relink: undefined,
      links: 0,
      attributeBytes,
      first: undefined,
    };
  }
}

function wrongLink({ path, linkPath }: Entry, why: string): QuayctlError {
  return new QuayctlError('protocol', `${shown(path)} is a hard link to ${shown(linkPath)}, which ${why}`);
}

function clear(node: TreeNode): void {
  node.inode = undefined;
  node.children = undefined;
}

function isOverlayWhiteout({ type, device }: Entry): boolean {
  return type === 'char-device' && device?.major === 0 && device.minor === 0;
}

function isOverlayOpaque({ xattrs }: Entry): boolean {
  const value = xattrs.get(OVERLAY_OPAQUE);
  return value !== undefined && byteString(value) === 'y';
}
