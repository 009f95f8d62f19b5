import { randomUUID } from 'node:crypto';
import { link, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { orAborted } from './abort.ts';

/** The bytes of a file: all of them, or as they come. */
export type FileContent = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export interface AtomicWriteOptions {
  /** A directory on the same file system for the draft; beside the file by default. */
  readonly draftDirectory?: string;
  /** Permissions, whatever the umask says; by default 0666 without the umask's bits. */
  readonly mode?: number;
  /** The bytes are on the disk before the file gets its name, so that a crash leaves the old file or the new one. */
  readonly durable?: boolean;
  /** Fails with EEXIST where the file is there already: of several writers the first wins. */
  readonly exclusive?: boolean;
  /** Owner and permissions of the draft, before it has any bytes. */
  readonly prepare?: (draft: FileHandle) => Promise<void>;
  /** The time of its last change, as it shall seem: milliseconds since 1970. For content that is whole. */
  readonly modifiedMs?: number | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Writes a file under another name and gives it its own when it is whole, so that readers see the old file or the new
 * one. The draft is removed when anything fails. The directory of the file must exist.
 * @throws the error of the system call; the signal's reason
 */
export async function writeAtomically(
  path: string,
  content: FileContent,
  {
    draftDirectory,
    mode,
    durable = false,
    exclusive = false,
    prepare,
    modifiedMs,
    signal,
  }: AtomicWriteOptions = {},
): Promise<void> {
  const draft =
    draftDirectory === undefined
      ? join(dirname(path), `.${basename(path)}.${randomUUID()}`)
      : join(draftDirectory, randomUUID());
  signal?.throwIfAborted();
  try {
    const file = await open(draft, 'wx', mode);
    try {
      if (mode !== undefined) await file.chmod(mode);
      await prepare?.(file);
      if (content instanceof Uint8Array) {
        await file.writeFile(content);
        if (modifiedMs !== undefined) await file.utimes(modifiedMs / 1000, modifiedMs / 1000);
        if (durable) await file.datasync();
      } else {
        // The stream closes the file; a second close below does nothing.
        const written = pipeline(content, file.createWriteStream({ flush: durable }), { signal });
        // By itself a pipeline waits for a source that gives nothing, aborted or not.
        await (signal === undefined ? written : orAborted(written, signal));
      }
    } finally {
      await file.close();
    }
    if (exclusive) await link(draft, path);
    else await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined);
    signal?.throwIfAborted();
    throw error;
  }
  if (exclusive) await rm(draft, { force: true });
}
