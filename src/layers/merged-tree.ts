import { QuayctlError } from '../base/errors.ts';
import { NO_CONTENT, PLAIN_DIRECTORY, type Entry, type Metadata, type TarEntry } from '../tar/entry.ts';
import { metadataOf, relinked } from './metadata.ts';
import { walk, type Inode, type TreeNode } from './tree.ts';

/** Merged layers: every name, with where what it stands for lies. */
export class MergedTree {
  readonly #directories: TreeNode[] = [];
  /** In the order in which their content comes by when the layers are read one after the other. */
  readonly #files: Inode[] = [];
  /** Symbolic links, devices, and the further names of everything. */
  readonly #others: TreeNode[] = [];
  readonly #readLayer: (layer: number) => AsyncIterable<TarEntry>;

  readonly #release: () => void;

  /** @param release called once the tree is of no more use */
  constructor(root: TreeNode, readLayer: (layer: number) => AsyncIterable<TarEntry>, release: () => void) {
    this.#readLayer = readLayer;
    this.#release = release;
    for (const node of walk(root)) this.#sort(node);
    this.#files.sort((one, other) => one.layer - other.layer || one.entry - other.entry);
  }

  get entryCount(): number {
    return this.#directories.length + this.#files.length + this.#others.length;
  }

  /** Other images may have the memory. */
  release(): void {
    this.#release();
  }

  /**
   * All entries, in an order that depends on the layers alone: the root and the directories, parents first; files, as
   * they lie in the layers; then hard links, symbolic links, devices. So a hard link comes after its file, and nothing
   * can be written through a symbolic link. Reads every layer once that has a file to give; may be called again.
   * @throws QuayctlError `verification` where a layer is not what it was at first; what reading it fails with
   */
  async *entries(): AsyncGenerator<TarEntry> {
    for (const node of this.#directories) yield withoutContent(node, node.inode?.metadata);
    /** Files that have further names. */
    const linked = new Map<Inode, Metadata>();
    for (const [layer, files] of Map.groupBy(this.#files, (file) => file.layer)) {
      yield* this.#contents(layer, files, linked);
    }
    for (const node of this.#others) {
      const { inode } = node;
      const metadata = inode === undefined ? undefined : (inode.metadata ?? linked.get(inode));
      yield withoutContent(node, metadata);
    }
  }

  async *#contents(
    layer: number,
    files: readonly Inode[],
    linked: Map<Inode, Metadata>,
  ): AsyncGenerator<TarEntry> {
    let next = 0;
    let at = 0;
    for await (const { header, content } of this.#readLayer(layer)) {
      const file = files[next];
      if (file?.first === undefined) return;
      if (at++ !== file.entry) continue;
      if (header.type !== 'file') break;
      const metadata = relinked(metadataOf(header), file.relink);
      if (file.links > 0) linked.set(file, metadata);
      yield { header: { ...metadata, path: file.first.path }, content };
      next++;
    }
    if (next < files.length) {
      throw new QuayctlError('verification', `layer ${layer + 1} is not what it was when it was first read`);
    }
  }

  #sort(node: TreeNode): void {
    const { inode } = node;
    if (node.isDirectory) this.#directories.push(node);
    else if (inode === undefined) return;
    else if (inode.first !== undefined || inode.metadata !== undefined) this.#others.push(node);
    else this.#files.push(inode);
    if (inode !== undefined) inode.first ??= node;
  }
}

function withoutContent(node: TreeNode, metadata: Metadata = PLAIN_DIRECTORY): TarEntry {
  return { header: headerOf(node, metadata), content: NO_CONTENT };
}

/** The first name is the thing itself, the others are links to it, and say all that it is, as extractors want it. */
function headerOf({ path, inode }: TreeNode, metadata: Metadata): Entry {
  const first = inode?.first?.path ?? path;
  // Of a file that has been done where its content was read.
  const all = relinked(metadata, metadata.type === 'file' ? undefined : inode?.relink);
  return first === path ? { ...all, path } : { ...all, path, type: 'hardlink', size: 0, linkPath: first };
}
