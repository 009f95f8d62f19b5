/**
 * Bytes as a string of one character per byte (latin1). Names in a tar are bytes, of any encoding or none: in this
 * form they stay what they are, and compare, split and join like text.
 */
export type ByteString = string;

export type EntryType =
  'file' | 'directory' | 'symlink' | 'hardlink' | 'char-device' | 'block-device' | 'fifo';

/** What a file is, apart from its names and its content: the inode, as a tar tells it (POSIX.1-2017 pax, ustar). */
export interface Metadata {
  readonly type: EntryType;
  /** Permission bits, set-user-ID, set-group-ID and sticky bit included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970, negative before. */
  readonly mtime: bigint;
  /** Bytes of content; 0 for all but files. */
  readonly size: number;
  /** Of a symbolic link: its text. Of a hard link: the path of a file that came before it. Else empty. */
  readonly linkPath: ByteString;
  readonly device: { readonly major: number; readonly minor: number } | undefined;
  /** By full name, `security.capability`. */
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

export interface Entry extends Metadata {
  /** From the root, without slashes at its ends, without `.` and `..`; the root itself is empty. */
  readonly path: ByteString;
}

/** An entry on its way from one tar into another. */
export interface TarEntry {
  readonly header: Entry;
  /** Exactly `header.size` bytes. It can be read until the next entry is asked for, and may be left unread. */
  readonly content: AsyncIterable<Uint8Array>;
}

export const NO_XATTRS: ReadonlyMap<ByteString, Uint8Array> = new Map();

/** What a directory is of which no layer says more, as Docker creates it. */
export const PLAIN_DIRECTORY: Metadata = {
  type: 'directory',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: 0n,
  size: 0,
  linkPath: '',
  device: undefined,
  xattrs: NO_XATTRS,
};

/** A regular file of root's, of 1970, with content from memory. */
export function fileEntry(path: ByteString, bytes: Uint8Array): TarEntry {
  return {
    header: { ...PLAIN_DIRECTORY, type: 'file', mode: 0o644, size: bytes.length, path },
    content: { [Symbol.asyncIterator]: () => once(bytes) },
  };
}

/** The content of everything that is no file. */
export const NO_CONTENT: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => once() };

export function bytesOf(text: ByteString): Buffer {
  return Buffer.from(text, 'latin1');
}

export function byteString(bytes: Uint8Array): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** A byte string for people: UTF-8 where it is, shortened, without control characters. */
export function shown(text: ByteString): string {
  const readable = bytesOf(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text).toString();
  return JSON.stringify(readable);
}

const MAX_SHOWN = 200;

async function* once(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
