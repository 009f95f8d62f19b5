import { QuayctlError } from '../base/errors.ts';
import { shown, type ByteString } from './entry.ts';

/** PATH_MAX and NAME_MAX of Linux, without the NUL: nothing longer could be created. */
const MAX_PATH_BYTES = 4095;
const MAX_NAME_BYTES = 255;

/**
 * The path of an entry, from the root of the image, cleaned as engines clean it before they look at the file system
 * (Go's filepath.Clean): `./a//b/` and `/a/c/../b` are `a/b`. Above the root is the root, for they unpack with the
 * image's own directory as their root.
 * @throws QuayctlError `protocol` for one that no file system takes
 */
export function entryPath(name: ByteString): ByteString {
  const parts: ByteString[] = [];
  for (const part of name.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  if (parts.some((part) => part.length > MAX_NAME_BYTES)) {
    throw new QuayctlError('protocol', `the path ${shown(name)} has a name of more than 255 bytes`);
  }
  return checked(parts.join('/'));
}

/**
 * The target of a hard link: a path in the image like that of an entry, also where it is absolute, as kaniko writes
 * it.
 * @throws QuayctlError `protocol`
 */
export function hardLinkPath(target: ByteString): ByteString {
  const path = entryPath(target);
  if (path === '') throw new QuayctlError('protocol', 'a hard link has no target');
  return path;
}

/** The text of a symbolic link is nobody's path before the image runs: it is kept as it is. */
export function symbolicLinkText(text: ByteString): ByteString {
  if (text === '') throw new QuayctlError('protocol', 'a symbolic link has no target');
  return checked(text);
}

function checked(path: ByteString): ByteString {
  if (path.length > MAX_PATH_BYTES) {
    throw new QuayctlError('protocol', `the path ${shown(path)} is longer than 4095 bytes`);
  }
  if (path.includes('\0')) throw new QuayctlError('protocol', `the path ${shown(path)} has a NUL in it`);
  return path;
}
