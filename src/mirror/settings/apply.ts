import { QuayctlError } from '../../base/errors.ts';
import { cut, type Edit } from './edit.ts';
import { sha256, type FoundFile, type SettingsDisk } from './settings-disk.ts';
import type { RecordedFile, SettingsRecord, WrittenPart } from './settings-record.ts';

/** A file that is to be changed, or made. */
export interface Change {
  /** As the host has it, without `--root`. */
  readonly path: string;
  /** Permissions of a file that is made; one that is there keeps its own. */
  readonly mode: number;
  /**
   * @param before the file without what we have written there earlier; undefined where there is none
   * @throws QuayctlError `unsupported` where it cannot be done
   */
  readonly edit: (before: FoundFile | undefined) => Edit;
}

/** What happened to a file. */
export interface Applied {
  readonly path: string;
  readonly kind: 'written' | 'unchanged' | 'restored' | 'removed' | 'cut' | 'left';
}

/** What a change would do. */
interface Prepared {
  readonly file: RecordedFile;
  readonly found: FoundFile | undefined;
  readonly content: Buffer;
  readonly mode: number;
}

/** @throws QuayctlError `unsupported`, naming the file */
export async function prepare(change: Change, disk: SettingsDisk, record: SettingsRecord): Promise<Prepared> {
  const { path, mode } = change;
  const found = await disk.read(path);
  const known = record.find(path);
  const before = known === undefined ? found : beforeOf(known, found);
  if (before === 'changed') {
    throw new QuayctlError('unsupported', `${path}: the part that install wrote was changed by hand`, {
      hint: 'take it out of the file, or quayctl mirror uninstall',
    });
  }
  try {
    const edit = change.edit(before);
    const content = Buffer.from(edit.content);
    const part = { after: sha256(content), inserted: edit.inserted };
    const current = known === undefined || found === undefined ? undefined : partIn(known, found);
    const ours = current === undefined || current.after === part.after ? [part] : [part, current];
    const directories =
      known !== undefined && known.directories.length > 0
        ? known.directories
        : await disk.missingDirectories(path);
    return { file: { path, before, ours, directories }, found, content, mode };
  } catch (error) {
    if (!(error instanceof QuayctlError)) throw error;
    throw new QuayctlError(error.code, `${path}: ${error.message}`, { hint: error.hint, cause: error });
  }
}

/**
 * Writes what was prepared, each file after its record. Where one cannot be written, those of this call are taken back.
 * @throws the error of the system call
 */
export async function apply(
  prepared: readonly Prepared[],
  disk: SettingsDisk,
  record: SettingsRecord,
): Promise<Applied[]> {
  const applied: Applied[] = [];
  const undo: string[] = [];
  try {
    for (const { file, found, content, mode } of prepared) {
      const { path, before, directories } = file;
      if (found?.bytes.equals(content) === true && record.find(path) !== undefined) {
        applied.push({ path, kind: 'unchanged' });
        continue;
      }
      undo.push(path);
      await record.put(file);
      for (const each of directories) await disk.makeDirectory(each);
      const owner = before === undefined ? undefined : { uid: before.uid, gid: before.gid };
      await disk.write(path, { bytes: content, mode: before?.mode ?? mode, owner });
      applied.push({ path, kind: 'written' });
    }
    return applied;
  } catch (error) {
    for (const path of undo.toReversed()) await takeBack(path, disk, record).catch(() => undefined);
    throw error;
  }
}

/**
 * Restores a file as it was before install; where others have changed it since, only our part of it is taken out.
 * @returns `left` where our own part was changed: it stays, with its record
 */
export async function takeBack(path: string, disk: SettingsDisk, record: SettingsRecord): Promise<Applied> {
  const known = record.find(path);
  if (known === undefined) return { path, kind: 'unchanged' };
  const kind = await restore(known, disk);
  if (kind === 'left') return { path, kind };
  await disk.removeDrafts(path);
  for (const each of known.directories.toReversed()) await disk.removeDirectory(each);
  await record.drop(path);
  return { path, kind };
}

async function restore(known: RecordedFile, disk: SettingsDisk): Promise<Applied['kind']> {
  const { path, before } = known;
  const found = await disk.read(path);
  // Somebody has removed it: that stays so. Or a run that was killed came no further than its record.
  if (found === undefined) return 'unchanged';
  if (before?.bytes.equals(found.bytes) === true) return 'unchanged';
  if (known.ours.some(({ after }) => after === sha256(found.bytes))) {
    if (before === undefined) {
      await disk.remove(path);
      return 'removed';
    }
    const { bytes, mode, uid, gid, modifiedMs } = before;
    await disk.write(path, { bytes, mode, owner: { uid, gid }, modifiedMs });
    return 'restored';
  }
  const rest = withoutOurs(known, found);
  if (rest === undefined) return 'left';
  if (rest.length === 0 && before === undefined) {
    await disk.remove(path);
    return 'removed';
  }
  const { mode, uid, gid } = found;
  await disk.write(path, { bytes: rest, mode, owner: { uid, gid } });
  return 'cut';
}

/** How a file would be without us. */
function beforeOf(known: RecordedFile, found: FoundFile | undefined): FoundFile | undefined | 'changed' {
  if (found === undefined) return undefined;
  const isOurs = known.ours.some(({ after }) => after === sha256(found.bytes));
  if (isOurs || known.before?.bytes.equals(found.bytes) === true) return known.before;
  const rest = withoutOurs(known, found);
  if (rest === undefined) return 'changed';
  if (rest.length === 0 && known.before === undefined) return undefined;
  return { ...found, bytes: rest };
}

function withoutOurs({ ours }: RecordedFile, { bytes }: FoundFile): Buffer | undefined {
  return ours.map(({ inserted }) => cut(bytes, inserted)).find((rest) => rest !== undefined);
}

/** Which of what we wrote stands in a file. */
function partIn({ ours }: RecordedFile, { bytes }: FoundFile): WrittenPart | undefined {
  return ours.find(({ after, inserted }) => after === sha256(bytes) || bytes.includes(inserted));
}
