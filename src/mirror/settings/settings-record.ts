import { dirname, isAbsolute, normalize } from 'node:path';
import { assertOwn } from '../../base/ownership.ts';
import { QuayctlError } from '../../base/errors.ts';
import type { FoundFile, SettingsDisk } from './settings-disk.ts';

/**
 * Root's own directory: whoever could write the record would have root restore files of his choice. It is not that of the
 * daemon's user, and there is nothing else in it.
 */
const RECORD = '/var/lib/quayctl-mirror/installed.json';
const VERSION = 1;
/** The only places that settings are written to, so the only ones that a record may lead to. */
const SETTINGS = /^\/etc\/(?:containerd|docker|containers|quayctl)\/[^\0]+$|^\/[^\0]+\/hosts\.toml$/;

/** How install left a file. */
export interface WrittenPart {
  /** SHA-256 of the whole file, in hex. */
  readonly after: string;
  /** Our part of it. */
  readonly inserted: string;
}

/** One file that install changed, and how it was before. */
export interface RecordedFile {
  /** As the host has it, without `--root`. */
  readonly path: string;
  /** Undefined where there was no such file. */
  readonly before: FoundFile | undefined;
  /** What we wrote, the latest first: a run that was killed may have left the file as the one before it did. */
  readonly ours: readonly WrittenPart[];
  /** That were made on the way to it, the outermost first. */
  readonly directories: readonly string[];
}

/** What install wrote, so that uninstall can take it back; written before each file is. */
export class SettingsRecord {
  readonly #disk: SettingsDisk;
  #files: readonly RecordedFile[] = [];

  private constructor(disk: SettingsDisk) {
    this.#disk = disk;
  }

  /** @throws QuayctlError `store` for a record that others could have written, or that is none */
  static async open(disk: SettingsDisk, uid: number | undefined): Promise<SettingsRecord> {
    const record = new SettingsRecord(disk);
    for (const path of [dirname(RECORD), RECORD]) {
      await assertOwn(disk.at(path), { uid, what: 'the record of what was installed' });
    }
    const found = await disk.read(RECORD);
    if (found === undefined) return record;
    record.#files = parseRecord(found.bytes.toString('utf8'));
    return record;
  }

  /** In the order in which they were written. */
  get files(): readonly RecordedFile[] {
    return this.#files;
  }

  find(path: string): RecordedFile | undefined {
    return this.#files.find((each) => each.path === path);
  }

  /** At the place of what is known of the same path: directories go after what was written into them. */
  async put(file: RecordedFile): Promise<void> {
    const isKnown = this.find(file.path) !== undefined;
    const files = this.#files.map((each) => (each.path === file.path ? file : each));
    await this.#save(isKnown ? files : [...files, file]);
  }

  async drop(path: string): Promise<void> {
    await this.#save(this.#files.filter((each) => each.path !== path));
  }

  /** Nothing is installed: the record goes, and its directory. */
  async clear(): Promise<void> {
    await this.#disk.remove(RECORD);
    await this.#disk.removeDrafts(RECORD);
    await this.#disk.removeDirectory(dirname(RECORD));
    this.#files = [];
  }

  async #save(files: readonly RecordedFile[]): Promise<void> {
    if (files.length === 0) return this.clear();
    const disk = this.#disk;
    for (const each of await disk.missingDirectories(RECORD)) {
      await disk.makeDirectory(each, each === dirname(RECORD) ? 0o700 : 0o755);
    }
    const text = `${JSON.stringify(toJson(files), undefined, 1)}\n`;
    await disk.write(RECORD, { bytes: Buffer.from(text), mode: 0o600 });
    this.#files = files;
  }
}

function toJson(files: readonly RecordedFile[]): unknown {
  return {
    version: VERSION,
    files: files.map(({ before, ...rest }) => ({
      ...rest,
      before: before === undefined ? null : { ...before, bytes: before.bytes.toString('base64') },
    })),
  };
}

function parseRecord(text: string): readonly RecordedFile[] {
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    if (value['version'] !== VERSION) throw new TypeError('another version');
    return list(value['files']).map(fileOf);
  } catch (cause) {
    throw new QuayctlError('store', `${RECORD} cannot be read`, {
      cause,
      hint: 'it may be of a later version of quayctl, whose uninstall reads it',
    });
  }
}

function fileOf(value: unknown): RecordedFile {
  const { path, before, ours, directories } = value as Record<string, unknown>;
  if (!SETTINGS.test(absolute(path))) throw new TypeError('a path that install does not write to');
  return {
    path: absolute(path),
    before: before === null ? undefined : foundOf(before),
    ours: list(ours).map(partOf),
    directories: list(directories).map(absolute),
  };
}

function partOf(value: unknown): WrittenPart {
  const { after, inserted } = value as Record<string, unknown>;
  return { after: string(after), inserted: string(inserted) };
}

function foundOf(value: unknown): FoundFile {
  const { bytes, mode, uid, gid, modifiedMs } = value as Record<string, unknown>;
  return {
    bytes: Buffer.from(string(bytes), 'base64'),
    mode: number(mode),
    uid: number(uid),
    gid: number(gid),
    modifiedMs: number(modifiedMs),
  };
}

function absolute(value: unknown): string {
  const path = string(value);
  if (normalize(path) !== path || !isAbsolute(path)) throw new TypeError('a plain absolute path is wanted');
  return path;
}

function string(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('a string is wanted');
  return value;
}

function number(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
    throw new TypeError('a number is wanted');
  return value;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new TypeError('a list is wanted');
  return value;
}
