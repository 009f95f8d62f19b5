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

/** What extracting hard links does to a file: owner, mode, time and attributes are set anew, by each. */
export function relinked(file: Metadata, links: readonly Entry[]): Metadata {
  return links.reduce((before, { mode, uid, gid, mtime, xattrs }) => {
    const left = [...before.xattrs].filter(([name]) => name !== CAPABILITY);
    const isSymlink = before.type === 'symlink';
    const all = new Map([...left, ...kept(xattrs)]);
    return { ...before, uid, gid, xattrs: all, ...(isSymlink ? {} : { mode, mtime }) };
  }, file);
}

function kept(xattrs: Metadata['xattrs']): Metadata['xattrs'] {
  if (xattrs.size === 0) return xattrs;
  return new Map([...xattrs].filter(([name]) => !name.startsWith(OVERLAY_OWN)));
}

/** A part of a string keeps all of it in memory: of a long path, for one name. */
export function ownCopy(text: ByteString): ByteString {
  return text === '' ? '' : byteString(bytesOf(text));
}
