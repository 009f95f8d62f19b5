import { QuayctlError } from '../base/errors.ts';
import { shown, type ByteString } from './entry.ts';

/** PATH_MAX and NAME_MAX of Linux, without the NUL: nothing longer could be created. */
const MAX_PATH_BYTES = 4095;
const MAX_NAME_BYTES = 255;

/**
 * The path of an entry, from the root of the image. `./a//b/` is `a/b`; `/a` is taken as Docker takes it.
 * @throws QuayctlError `protocol` for one that climbs, or that no file system takes
 */
export function entryPath(name: ByteString): ByteString {
  const path = name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
  const parts = path.split('/');
  if (parts.includes('..')) throw new QuayctlError('protocol', `the path ${shown(name)} climbs`);
  if (parts.some((part) => part.length > MAX_NAME_BYTES)) {
    throw new QuayctlError('protocol', `the path ${shown(name)} has a name of more than 255 bytes`);
  }
  return checked(path);
}

/**
 * The target of a hard link, which must lie in the image.
 * @throws QuayctlError `protocol`, also for an absolute one: read as it stands it would lie outside
 */
export function hardLinkPath(target: ByteString): ByteString {
  if (target.startsWith('/')) {
    throw new QuayctlError('protocol', `the hard link target ${shown(target)} is absolute`);
  }
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
