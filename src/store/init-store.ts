import { mkdir, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isQuayctlError, QuayctlError } from '../base/errors.ts';
import { makePrivateDirectory } from '../base/private-files.ts';
import { checkLayoutFile, layoutFile } from '../image/layout.ts';
import { formatEntries } from './index-file.ts';
import { isAbsent, readBounded, replacePrivateFile } from './disk.ts';
import { OWN_DIRECTORIES, type StorePaths } from './paths.ts';
import { keepReserve } from './reserve.ts';

/** The version of the files in `quayctl/`. */
const VERSION = 1;
const MAX_VERSION_BYTES = 4096;
const MAX_LAYOUT_FILE_BYTES = 4096;

/**
 * A store that can be used, made where there is none. Nothing is touched before its version is known.
 * @throws QuayctlError `store` for one written by a future version, and for a directory that is something else
 */
export async function layOut(paths: StorePaths): Promise<void> {
  const version = await readVersion(paths);
  checkVersion(paths, version);
  await checkLayout(paths);
  await mkdir(dirname(paths.root), { recursive: true, mode: 0o700 });
  await makePrivateDirectory(paths.root);
  for (const path of [`${paths.root}/blobs`, paths.blobs, paths.own()]) await makePrivateDirectory(path);
  for (const name of OWN_DIRECTORIES) await makePrivateDirectory(paths.own(name));
  await unlessThere(paths, paths.index, formatEntries([]));
  await unlessThere(paths, paths.layout, layoutFile());
  if (version === '') {
    // A power cut may leave zeros where a file was not written out, and those are no version.
    const bytes = Buffer.from(`${VERSION}\n`);
    await replacePrivateFile(paths.own('tmp'), paths.version, bytes, { durable: true });
  }
  await keepReserve(paths);
}

/** Empty where there is none, or one that a kill has left empty. */
async function readVersion(paths: StorePaths): Promise<string> {
  const read = (): Promise<Buffer | undefined> => readBounded(paths.version, MAX_VERSION_BYTES);
  // Another process may have written it between the first look and the second.
  const bytes = (await read()) ?? ((await isThere(paths.version)) ? await read() : Buffer.alloc(0));
  return bytes === undefined ? 'too long' : bytes.toString('latin1').trim();
}

function checkVersion(paths: StorePaths, text: string): void {
  if (text === '' || text === String(VERSION)) return;
  const shown = /^\d{1,9}$/.test(text) ? `format ${text}` : 'a format that this version does not know';
  throw new QuayctlError('store', `the store ${paths.root} is in ${shown}, this quayctl knows ${VERSION}`, {
    hint: 'use a newer quayctl, or another directory with --store DIR',
  });
}

async function checkLayout(paths: StorePaths): Promise<void> {
  const bytes = await readBounded(paths.layout, MAX_LAYOUT_FILE_BYTES);
  if (bytes === undefined) return;
  try {
    checkLayoutFile(bytes);
  } catch (error) {
    if (!isQuayctlError(error, 'unsupported')) {
      // Garbage where two dozen bytes should be: put aside, and made again.
      await rename(paths.layout, `${paths.layout}.damaged-${Date.now()}`);
      return;
    }
    throw new QuayctlError('store', `the store ${paths.root} is an OCI layout of an unknown version`, {
      cause: error,
      hint: 'use a newer quayctl, or another directory with --store DIR',
    });
  }
}

async function unlessThere(paths: StorePaths, path: string, bytes: Uint8Array): Promise<void> {
  if (await isThere(path)) return;
  await replacePrivateFile(paths.own('tmp'), path, bytes, { durable: true });
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}
