import { byteString, bytesOf, type ByteString, type Entry, type Metadata } from '../tar/entry.ts';

/** overlayfs's own notes on a file. They mean something on the disk where it wrote them, and nowhere else. */
const OVERLAY_OWN = 'trusted.overlay.';
/** The kernel takes it off a file whenever the owner is set, and an extractor sets the owner for a link, too. */
const CAPABILITY = 'security.capability';

/** What an entry says of its file, without the path, which the tree knows. */
export function metadataOf(header: Entry): Metadata {
  const { type, mode, uid, gid, mtime, size, linkPath, device, xattrs } = header;
  return { type, mode, uid, gid, mtime, size, linkPath: ownCopy(linkPath), device, xattrs: kept(xattrs) };
}

/** What extracting hard links sets of a file: the owner, mode and time of the last one, the attributes of all. */
export interface Relink {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: bigint;
  /** Belongs to this record, and grows. */
  readonly xattrs: Map<ByteString, Uint8Array>;
}

/** One more link, in the order of the layer. */
export function relink(before: Relink | undefined, { mode, uid, gid, mtime, xattrs: more }: Entry): Relink {
  const xattrs = before?.xattrs ?? new Map<ByteString, Uint8Array>();
  xattrs.delete(CAPABILITY);
  for (const [name, value] of kept(more)) xattrs.set(name, value);
  return { mode, uid, gid, mtime, xattrs };
}

/** A file after its links were extracted. */
export function relinked(file: Metadata, links: Relink | undefined): Metadata {
  if (links === undefined) return file;
  const { mode, uid, gid, mtime } = links;
  const left = [...file.xattrs].filter(([name]) => name !== CAPABILITY);
  const xattrs = new Map([...left, ...links.xattrs]);
  return { ...file, uid, gid, xattrs, ...(file.type === 'symlink' ? {} : { mode, mtime }) };
}

function kept(xattrs: Metadata['xattrs']): Metadata['xattrs'] {
  if (xattrs.size === 0) return xattrs;
  return new Map([...xattrs].filter(([name]) => !name.startsWith(OVERLAY_OWN)));
}

/** A part of a string keeps all of it in memory: of a long path, for one name. */
export function ownCopy(text: ByteString): ByteString {
  return text === '' ? '' : byteString(bytesOf(text));
}
