import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeAtomically } from '../../base/atomic-file.ts';
import { QuayctlError } from '../../base/errors.ts';

/** The largest file of settings that is edited. */
const MAX_SETTINGS_BYTES = 1024 * 1024;
const PERMISSIONS = 0o7777;
/** What writeAtomically leaves where it is killed: `.NAME.UUID`. */
const DRAFT = /^\.(.+)\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A file as it was found. */
export interface FoundFile {
  readonly bytes: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Milliseconds since 1970, with fractions. */
  readonly modifiedMs: number;
}

/** How a file is to be. */
export interface WantedFile {
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  readonly modifiedMs?: number | undefined;
}

/**
 * The files of settings below a root. Each change happens at once or not at all, and is on the disk when the call returns; it is
 * also where a test pulls the plug.
 */
export class SettingsDisk {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Where a path of the host's lies for this process. */
  at(path: string): string {
    return join(this.root, path);
  }

  /**
   * Undefined where there is none.
   * @throws QuayctlError `unsupported` for a link, which leads to what is not settings, and for what is no file
   */
  async read(path: string): Promise<FoundFile | undefined> {
    await this.#assertInside(path);
    try {
      const file = await open(
        this.at(path),
        constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      );
      try {
        const facts = await file.stat();
        if (!facts.isFile()) throw new QuayctlError('unsupported', `${path} is no file`);
        if (facts.size > MAX_SETTINGS_BYTES) throw new QuayctlError('limit', `${path} is too large`);
        const { uid, gid, mtimeMs: modifiedMs } = facts;
        return { bytes: await file.readFile(), mode: facts.mode & PERMISSIONS, uid, gid, modifiedMs };
      } finally {
        await file.close();
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      if (code === 'ELOOP') {
        throw new QuayctlError('unsupported', `${path} is a symbolic link, and is left alone`, {
          hint: 'put a file in its place, or write the settings by hand (docs/mirror.md)',
        });
      }
      throw error;
    }
  }

  /** The names in a directory; none where there is no such directory. */
  async list(path: string): Promise<string[]> {
    await this.#assertInside(path);
    return (await readdir(this.at(path)).catch(() => [] as string[])).toSorted();
  }

  /** The directories that are not there yet on the way to a path, the outermost first. */
  async missingDirectories(path: string): Promise<string[]> {
    const missing: string[] = [];
    for (let each = dirname(path); each !== dirname(each); each = dirname(each)) {
      if ((await lstat(this.at(each)).catch(() => undefined)) !== undefined) break;
      missing.unshift(each);
    }
    return missing;
  }

  /** One that is there stays as it is. */
  async makeDirectory(path: string, mode = 0o755): Promise<void> {
    await this.#assertInside(path);
    try {
      await mkdir(this.at(path), { mode });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
      throw error;
    }
    // Whatever the umask says.
    await chmod(this.at(path), mode);
  }

  async write(path: string, { bytes, mode, owner, modifiedMs }: WantedFile): Promise<void> {
    await this.#assertInside(path);
    await writeAtomically(this.at(path), bytes, {
      mode,
      durable: true,
      modifiedMs,
      prepare: async (draft) => {
        if (owner === undefined) return;
        await draft.chown(owner.uid, owner.gid);
        // A change of the owner takes away set-id bits.
        await draft.chmod(mode);
      },
    });
  }

  async remove(path: string): Promise<void> {
    await this.#assertInside(path);
    await rm(this.at(path), { force: true });
  }

  /** A directory with something in it stays. */
  async removeDirectory(path: string): Promise<void> {
    await rmdir(this.at(path)).catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error;
    });
  }

  /** What a run that was killed left beside a file. */
  async removeDrafts(path: string): Promise<void> {
    for (const name of await this.list(dirname(path))) {
      if (DRAFT.exec(name)?.[1] === basename(path)) await this.remove(join(dirname(path), name));
    }
  }

  /** An absolute link below `--root` would lead out of it, into the files of this container. */
  async #assertInside(path: string): Promise<void> {
    if (this.root === '/') return;
    const root = await realpath(this.root);
    for (let each = dirname(this.at(path)); ; each = dirname(each)) {
      const real = await realpath(each).catch(() => undefined);
      if (real === undefined && each !== dirname(each)) continue;
      if (real === root || real?.startsWith(`${root}/`) === true) return;
      throw new QuayctlError('unsupported', `${path} leads out of --root ${this.root}`);
    }
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
